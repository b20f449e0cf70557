"""The tests of the database on each version of PostgreSQL. Run by `make test-postgres` only."""
