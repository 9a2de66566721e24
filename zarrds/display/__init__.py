"""Plain data to text, HTML and SVG; it knows nothing of Zarr."""
