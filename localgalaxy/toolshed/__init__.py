"""Publishing to a Tool Shed, and using what is installed from it."""
