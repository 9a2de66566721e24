"""Questions to datasets that are answered from chunk statistics, as far as they go, and from data where they do not."""
