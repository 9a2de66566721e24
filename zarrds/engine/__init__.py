"""Selections of a chunked array -> chunks: plans, threads, the cache."""
