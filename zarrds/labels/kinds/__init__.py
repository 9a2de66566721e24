"""Every kind of label that pandas has <-> plain arrays."""
