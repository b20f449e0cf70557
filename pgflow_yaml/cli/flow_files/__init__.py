"""Flow files, from the first example to a version in the database, and what is wrong with them."""
