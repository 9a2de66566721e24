"""A store at a URL that fsspec knows."""
