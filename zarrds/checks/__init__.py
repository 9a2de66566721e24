"""Check a store, and mend what is safe to mend."""
