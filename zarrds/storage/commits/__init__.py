"""Many keys that change as one: what all kinds of stores share."""
