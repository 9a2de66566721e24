"""What pandas knows: indexes to and from plain arrays, and the index that is searched where it lies."""

__all__ = ["INDEX_THRESHOLD"]

# so many labels are not read when a store is opened, unless the user says so: they are searched where they lie
INDEX_THRESHOLD = 2**24
