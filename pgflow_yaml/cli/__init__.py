"""The command line: it parses, calls the library and renders; it may be deleted and the rest works.

Modules that import rich, psycopg or jsonschema are imported inside commands: `--help` has 100 ms.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit with its code."""
    from .app import run

    raise SystemExit(run())
