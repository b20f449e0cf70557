"""Questions of steps to people, as pages show them, and the decisions that people typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgflow_yaml.client import lookup
from pgflow_yaml.errors import InvalidInput, PgflowError
from pgflow_yaml.language.inputs import form_problems
from pgflow_yaml.language.source import MappingNode, parse
from pgflow_yaml.language.validation.positions import flow_node, step_node
from pgflow_yaml.runs.approval_links import undecidable
from pgflow_yaml.text import clean
from pgflow_yaml.web.fields import Field, fields, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgflow_yaml.client import Client, Decision
    from pgflow_yaml.language.inputs import Problem
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.runs.snapshot import RunShape, Snapshot, WaitsShape

LONGEST_COMMENT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A step that asks; `over` says why nobody can decide it any more, or is empty.

    `texts` has title and description of each field of the form, in the order of the flow's text.
    """

    run: RunShape
    step: str
    event: str
    by: tuple[str, ...]
    form: Mapping[str, Json]
    texts: Mapping[str, tuple[str, str]]
    waits: WaitsShape | None
    over: str

    def is_for(self, name: str, groups: Iterable[str]) -> bool:
        """Return true if this person may decide."""
        return not self.by or not {name, *groups}.isdisjoint(self.by)

    @property
    def deciders(self) -> str:
        """Those who may decide; empty: everybody."""
        return " or ".join(self.by)


def ask_of(client: Client, snapshot: Snapshot, slug: str) -> Ask:
    """Return what a step of a run asks; raises NotFound if the run has no such step."""
    state, run = lookup.step(snapshot, slug), snapshot["run"]
    stored = client.get_definition(run["flow"], run["version"])
    body: dict[str, Any] = {} if stored is None else stored.definition
    wait = {**body.get("steps", {}), **body.get("finally", {})}.get(slug, {}).get("wait", {})
    nothing = "" if "event" in wait else f'step "{slug}" of this run asks for nothing'
    source = "" if stored is None else stored.source or ""
    by = wait.get("by", ())
    return Ask(
        run=run,
        step=slug,
        event=wait.get("event", ""),
        by=(by,) if isinstance(by, str) else tuple(by),
        form=wait.get("form", {}),
        texts=texts_of(source, run["flow"], slug) if "form" in wait else {},
        waits=state["waits"],
        over=nothing or undecidable(snapshot, slug),
    )


def texts_of(source: str, flow: str, slug: str) -> dict[str, tuple[str, str]]:
    """Return title and description of the fields, in the order in which somebody wrote them.

    The compiled flow has neither, nor the order.
    """
    step = step_node(flow_node(parse(source).root, flow), slug)
    wait = step.get("wait") if isinstance(step, MappingNode) else None
    form = wait.get("form") if isinstance(wait, MappingNode) else None
    data: Any = form.data() if isinstance(form, MappingNode) else {}
    return {
        name: (str(schema.get("title") or ""), str(schema.get("description") or ""))
        for name, schema in data.items()
        if isinstance(schema, dict)
    }


def fields_of(ask: Ask, form: Mapping[str, str]) -> list[Field]:
    """Return the fields of a form, with what was typed and what is wrong with it."""
    answer, problems = read(ask.form, form) if form else ({}, [])
    if form and not problems:
        problems = form_problems(ask.form, answer, complete=True)
    return fields(
        ask.form,
        {},
        texts=ask.texts,
        form=form,
        problems={problem["path"].split(".")[0]: problem["message"] for problem in problems},
    )


def decide(
    client: Client,
    ask: Ask,
    form: Mapping[str, str],
    *,
    approves: bool,
    by: str,
    groups: tuple[str, ...] = (),
) -> Decision:
    """Decide as somebody typed; raises PgflowError, InvalidInput for the fields."""
    said = comment(form)
    if not approves:
        if not said:
            raise PgflowError("say why: the comment is the error that the run shows")
        return client.reject(ask.run["id"], ask.step, said, by=by, groups=groups)
    data: Json = None
    if ask.form:
        problems: list[Problem]
        data, problems = read(ask.form, form)
        if problems:
            raise InvalidInput(problems=problems, subject="the answer")
    return client.approve(ask.run["id"], ask.step, said, by=by, data=data, groups=groups)


def comment(form: Mapping[str, str]) -> str | None:
    """Return the comment that was typed; raises PgflowError for one that is too long."""
    text = clean(form.get("comment", "").replace("\r\n", "\n")).strip()
    if len(text) > LONGEST_COMMENT:
        raise PgflowError(f"the comment has more than {LONGEST_COMMENT:,} characters")
    return text or None
