"""Bytes under keys: a folder, memory, an fsspec file system."""
