"""A store as one page to look at: `zarrds.report`."""
