"""PostgreSQL: the store, the migrations, and the embedded server."""
