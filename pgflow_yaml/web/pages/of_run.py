"""Data of the pages about one run: its id, its snapshot, the reasons why its steps wait."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import UUID

from pgflow_yaml.client import lookup
from pgflow_yaml.client.reading import read_run
from pgflow_yaml.errors import NotFound
from pgflow_yaml.web.asked import Moved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.client import StoredVersion
    from pgflow_yaml.runs.snapshot import Snapshot
    from pgflow_yaml.runs.why import Reason
    from pgflow_yaml.web.asked import Asked

LONGEST = 200


def run_id(asked: Asked) -> str:
    """Return the id in the path; another text that means a run leads to the address of that run.

    It is a key, the beginning of an id or `last`. Raises NotFound, WrongSetting or Moved.
    """
    text = asked.params["run"]
    try:
        found = str(UUID(text))
    except ValueError:
        found = lookup.run_id(asked.client, text[:LONGEST])
    if found == text:
        return text
    rest = quote(asked.path.removeprefix(f"/runs/{text}"))
    raise Moved(f"/runs/{found}{rest}" + (f"?{asked.query}" if asked.query else ""))


def snapshot(asked: Asked) -> Snapshot:
    """Return the snapshot of the run in the path, as `show` prints it."""
    run = run_id(asked)
    try:
        return read_run(asked.client, run)
    except NotFound:
        raise NotFound(f"there is no run {run} in this database, or no more") from None


def reasons(asked: Asked) -> Mapping[str, Reason]:
    """Return why each step of the run waits; none of a run that has ended."""
    shown = asked.once(snapshot)
    if shown["run"]["status"] != "started":
        return {}
    return asked.client.why(shown["run"]["id"])


def definition(asked: Asked) -> StoredVersion | None:
    """Return the version of the flow that the run follows; None for a run of pgflow itself."""
    run = asked.once(snapshot)["run"]
    return asked.client.get_definition(run["flow"], run["version"]) if run["version"] else None


def watched(asked: Asked) -> str:
    """Return the name of the run for the stream."""
    return f"run:{asked.once(snapshot)['run']['id']}"
