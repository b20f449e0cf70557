"""Live updates: one watcher a server tells all streams what has changed."""
