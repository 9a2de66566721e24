"""What pandas knows: indexes to and from plain arrays, and the index that is searched where it lies."""
