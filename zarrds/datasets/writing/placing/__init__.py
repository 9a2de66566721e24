"""Where labels go: behind those that are stored, between them, or in their place."""
