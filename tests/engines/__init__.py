"""Handlers in real clusters of Dask and Ray, and in Parsl; `make test-executors` runs them."""
