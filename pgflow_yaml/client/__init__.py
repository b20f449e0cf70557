"""The public face of flows and runs: a client and its results."""

from __future__ import annotations

from pgflow_yaml.client.client import Client
from pgflow_yaml.client.deciding import WaitingStep
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
from pgflow_yaml.client.router import Router
from pgflow_yaml.client.runs import Run, StepState
from pgflow_yaml.client.schedules import Backfilled, ScheduleSummary
from pgflow_yaml.client.views import AuditLine, FlowStrip, ItemSummary, RunPage, StepItems

__all__ = [
    "AuditLine",
    "Backfilled",
    "Cancelled",
    "Client",
    "Decision",
    "Deployed",
    "FailedStep",
    "FlowStrip",
    "FlowSummary",
    "ItemSummary",
    "Preview",
    "Pruned",
    "QueueSummary",
    "Retried",
    "Router",
    "Run",
    "RunPage",
    "RunSummary",
    "ScheduleSummary",
    "Sent",
    "Started",
    "StepItems",
    "StepState",
    "StoredVersion",
    "VersionSummary",
    "WaitingStep",
    "WorkerSummary",
]
