"""Untrusted HDF5 files: reading them safely, building, splitting and streaming datasets."""
