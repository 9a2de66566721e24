"""Metadata documents <-> one model."""
