"""A database in which much has happened: runs that have ended, made by one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.engine.driver import Engine

_RUNS = """
set session_replication_role = replica;
insert into pgflow.runs (run_id, flow_slug, flow_name, status, input, started_at, completed_at)
select gen_random_uuid(), '{slug}', split_part('{slug}', '__', 1), 'completed', '{{}}', m.at, m.at
from generate_series(1, {runs}) g,
  lateral (select now() - interval '2 days' + g * interval '1 ms' as at) m;
set session_replication_role = origin"""


def complete_runs(engine: Engine, slug: str, runs: int) -> None:
    """Store completed runs of a version; the last of them ended two days ago."""
    engine.db.execute(_RUNS.format(slug=slug, runs=runs).encode())
