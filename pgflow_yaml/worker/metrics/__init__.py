"""Metrics and health of a worker over HTTP; imported only by a worker that exports them."""
