"""The public face of flows and runs: a client and its results."""

from __future__ import annotations

from pgflow_yaml.client.client import Client
from pgflow_yaml.client.results import (
    Cancelled,
    Decision,
    Deployed,
    FlowSummary,
    Preview,
    Pruned,
    QueueSummary,
    RunSummary,
    Sent,
    Started,
    StoredVersion,
    VersionSummary,
    WorkerSummary,
)
from pgflow_yaml.client.runs import Run, StepState

__all__ = [
    "Cancelled",
    "Client",
    "Decision",
    "Deployed",
    "FlowSummary",
    "Preview",
    "Pruned",
    "QueueSummary",
    "Run",
    "RunSummary",
    "Sent",
    "Started",
    "StepState",
    "StoredVersion",
    "VersionSummary",
    "WorkerSummary",
]
