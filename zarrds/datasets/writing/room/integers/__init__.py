"""Stored integers that are too narrow for what is added, or of which some turn out to be missing."""
