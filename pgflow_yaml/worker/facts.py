"""Facts about a worker's process, for the list of workers in the database."""

from __future__ import annotations

import os
import socket
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json


def process_facts(concurrency: int, *, metrics: bool) -> dict[str, Json]:
    """Return the host, the versions, the number of slots, and whether it exports metrics."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "python": sys.version.split()[0],
        "release": version("pgflow-yaml"),
        "concurrency": concurrency,
        "metrics": metrics,
    }
