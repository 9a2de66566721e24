"""A query: from text to what it says of values, and of bounds."""
