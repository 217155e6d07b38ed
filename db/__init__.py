"""What happened: one file per table, with the few queries on it."""
