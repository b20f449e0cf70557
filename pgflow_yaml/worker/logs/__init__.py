"""The lines that handlers print and log, on their way to the database."""

from __future__ import annotations

from pgflow_yaml.worker.logs.attempt_log import AttemptLog
from pgflow_yaml.worker.logs.catching import catch_logging, is_in_logging
from pgflow_yaml.worker.logs.duty import SendLogs
from pgflow_yaml.worker.logs.logs import Batch, Logs

__all__ = ["AttemptLog", "Batch", "Logs", "SendLogs", "catch_logging", "is_in_logging"]
