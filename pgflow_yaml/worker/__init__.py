"""The worker: executes tasks and reports them, in a loop over one SQL function."""

from __future__ import annotations

from pgflow_yaml.worker.worker import Worker

__all__ = ["Worker"]
