"""Stored arrays that are too small for what is added: longer text, finer times, wider integers, missing values."""
