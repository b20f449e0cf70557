"""Engines: clusters and other executors of functions, which run the handlers of a worker.

An engine only runs functions. It gets a text and returns a text; it knows no flow, no retry and no
state of ours (scale-out.md §1). To add one, write a module with a class as `Engine` describes, and
enter its scheme in `schemes`.
"""
