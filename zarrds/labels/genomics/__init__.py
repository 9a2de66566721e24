"""Regions of a genome: the records that overlap them, found where they lie."""
