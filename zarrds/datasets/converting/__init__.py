"""Files to stores and back: `zarrds.convert` and `zarrds.export`."""
