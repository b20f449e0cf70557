"""The command line: it parses, calls the library and renders; it may be deleted and the rest works.

Modules that import rich, psycopg or jsonschema are imported inside commands: `--help` has 100 ms.
"""

from __future__ import annotations

import os
import sys
import threading


def main() -> None:
    """Run the command line of this process and exit with its code."""
    from .app import run

    code = run()
    if any(thread.name.startswith("pgflow-handler") for thread in threading.enumerate()):
        # A handler that ignores its end would be met by an interpreter that is half gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
