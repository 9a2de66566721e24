"""A question: from text to what it says of values, and of bounds."""
