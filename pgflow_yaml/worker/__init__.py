"""The worker: claims tasks, runs their handlers, and reports the outcomes."""

from __future__ import annotations

from pgflow_yaml.worker.worker import Worker

__all__ = ["Worker"]
