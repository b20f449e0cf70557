"""Executors: where handlers run."""
