"""What one save changes, decided, written, and made to count at once."""
