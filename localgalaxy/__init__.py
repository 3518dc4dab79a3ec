"""A real Galaxy on this machine, from released packages, with this repository's tools in it."""
