"""Bytes under keys: in a folder, a ZIP file, memory, object storage, on a web server."""
