"""A run as `show --json` prints it: whole or one of its steps, and with the reasons of `--why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.text import moment

from .why import RUN, sentences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .snapshot import Snapshot
    from .why import Reason


def only(snapshot: Snapshot, step: str | None) -> Snapshot:
    """Return a snapshot with one step only, or the whole one."""
    if step is None:
        return snapshot
    return {
        **snapshot,
        "steps": [state for state in snapshot["steps"] if state["slug"] == step],
        "errors": [error for error in snapshot["errors"] if error["step"] == step],
    }


def reason_sentences(snapshot: Snapshot, reasons: Mapping[str, Reason]) -> dict[str, str]:
    """Return the sentence of each reason, that of the run first, then in the order of the steps."""
    texts = sentences(reasons, moment(snapshot["now"]))
    order = [RUN, *(state["slug"] for state in snapshot["steps"])]
    return {slug: texts[slug] for slug in order if slug in texts}


def with_reasons(
    snapshot: Snapshot, reasons: Mapping[str, Reason], step: str | None = None
) -> dict[str, Any]:
    """Return a snapshot whose run and steps have a `why`: the reason and its sentence, or null."""
    shown = only(snapshot, step)
    texts = reason_sentences(snapshot, reasons)
    why = {slug: {**reasons[slug], "sentence": text} for slug, text in texts.items()}
    steps = [{**state, "why": why.get(state["slug"])} for state in shown["steps"]]
    own = {"why": why[RUN]} if RUN in why else {}
    return {**shown, "run": {**shown["run"], **own}, "steps": steps}
