"""The out-of-core index: sorted labels that are searched where they lie."""
