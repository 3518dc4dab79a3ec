"""Jobs on a Pulsar that shares no file with Galaxy."""
