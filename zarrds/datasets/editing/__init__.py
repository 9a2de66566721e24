"""Edits of a stored dataset in place."""
