"""The handlers that a worker must allow by name: `shell`, `http`, `sql`."""
