"""From a store to lazy variables and indexes."""
