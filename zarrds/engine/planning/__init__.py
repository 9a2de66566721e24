"""Which chunks a selection needs, and what of them: pure."""
