"""Codecs: one chunk <-> its bytes."""
