"""Labels: pandas indexes to and from plain arrays, the index that is searched where it lies, regions of a genome."""

__all__ = ["INDEX_THRESHOLD"]

# so many labels are not read when a store is opened, unless the user says so: they are searched where they lie
INDEX_THRESHOLD = 2**24
