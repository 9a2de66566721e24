"""Rows of statistics -> bounds in a variable's own values."""
