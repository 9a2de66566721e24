"""Stores in ZIP files."""
