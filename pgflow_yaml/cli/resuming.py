"""The commands that continue a run without a worker: they work when they are copied."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pgflow_yaml.project.databases import has_password

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.client import Client

    from .options import Options


def resume_command(
    client: Client, options: Options, run_id: str, worker_words: Sequence[str] = ()
) -> str:
    """Return the command that continues a run; on a named database there is a second one.

    `worker_words` are the options that a worker needs to find its handlers. A password of --dsn is
    not repeated.
    """
    words = list(worker_words)
    if options.dsn is not None and not has_password(options.dsn):
        words += ["--dsn", options.dsn]
    if options.database is not None:
        words += ["--database", options.database]
    ways = [["run", "--resume", run_id[:8]]]
    if not client.embedded:
        ways.append(["worker", "--burst"])
    return ", or ".join(shlex.join(["pgflow-yaml", *way, *words]) for way in ways)
