"""PostgreSQL: the store's calls, migrations, and the embedded server."""
