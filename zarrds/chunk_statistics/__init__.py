"""What is in each chunk, in a few numbers that are tied to its stored bytes."""
