"""Two stores or datasets, compared: `zarrds.diff`."""
