"""Decoded values -> encoded ones that read back as what they were."""
