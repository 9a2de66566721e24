"""Variables as users have them <-> arrays as a store has them."""
