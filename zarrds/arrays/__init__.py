"""Chunked arrays in groups."""
