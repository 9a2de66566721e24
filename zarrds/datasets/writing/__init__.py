"""From a dataset to a store: new stores, appends, regions, overwrites."""
