"""Files that keep others out, and files that are held."""
