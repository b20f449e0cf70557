"""The command line: it parses, calls the library and renders; the library works without it.

Modules that import rich, psycopg or jsonschema are imported inside commands, as `--help` must take
at most 100 ms.
"""

from __future__ import annotations

import os
import sys
import threading


def main() -> None:
    """Run the command line of this process and exit with its code."""
    from . import streams

    streams.take_over()
    from .app import run

    code = run()
    if "pgflow_yaml.worker.streams" in sys.modules:
        from pgflow_yaml.worker.streams import mask_until_exit

        mask_until_exit()
    if any(thread.name.startswith("pgflow-handler") for thread in threading.enumerate()):
        # A handler that still runs must not meet an interpreter that is half shut down.
        sys.stdout.flush()
        os._exit(code)
    raise SystemExit(code)
