"""The nodes of a store: read, looked up, and changed as one."""
