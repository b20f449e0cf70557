"""The public face of flows and runs: a client and its results."""

from __future__ import annotations

from pgflow_yaml.client.client import Client
from pgflow_yaml.client.results import (
    Cancelled,
    Decision,
    Deployed,
    FailedStep,
    FlowSummary,
    Preview,
    Pruned,
    QueueSummary,
    Retried,
    RunSummary,
    Sent,
    Started,
    StoredVersion,
    VersionSummary,
    WorkerSummary,
)
from pgflow_yaml.client.runs import Run, StepState
from pgflow_yaml.client.schedules import Backfilled, ScheduleSummary

__all__ = [
    "Backfilled",
    "Cancelled",
    "Client",
    "Decision",
    "Deployed",
    "FailedStep",
    "FlowSummary",
    "Preview",
    "Pruned",
    "QueueSummary",
    "Retried",
    "Run",
    "RunSummary",
    "ScheduleSummary",
    "Sent",
    "Started",
    "StepState",
    "StoredVersion",
    "VersionSummary",
    "WorkerSummary",
]
