"""Facts about a worker's process, for the list of workers in the database."""

from __future__ import annotations

import os
import socket
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json


def process_facts(*, metrics: bool) -> dict[str, Json]:
    """Return the host, the versions, and whether it exports metrics."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "python": sys.version.split()[0],
        "release": version("pgflow-yaml"),
        "metrics": metrics,
    }
