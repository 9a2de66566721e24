"""What xarray sees: the backend and the writer."""
