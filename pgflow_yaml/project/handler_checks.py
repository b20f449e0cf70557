"""Handlers of a checked flow, looked up and compared with the steps that call them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Diagnostic, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.language.source import Document
    from pgflow_yaml.project.settings import Settings
    from pgflow_yaml.worker.calls.handler import Handler

CODE_MISSING, CODE_SIGNATURE = "PF301", "PF302"
_NO_PARAMETER = re.compile(r'has no parameter "(\w+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """A finding about a step's handler, before its place is looked for: a key of the step."""

    code: str
    message: str
    slug: str
    key: str
    argument: str | None = None
    fix: str | None = None


def handler_findings(source: str, body: dict[str, Json], places: Settings) -> list[Diagnostic]:
    """Import the handlers of a compiled flow; say which are missing or cannot be called so."""
    from pgflow_yaml.worker.calls import Handlers, HandlerUnavailable, signature_problems

    handlers = Handlers(places.app_dir, places.allow)
    found: list[_Finding] = []
    steps: Any = {**_section(body, "steps"), **_section(body, "finally")}
    for slug, step in steps.items():
        if "handler" not in step:
            continue
        try:
            handler = handlers.get(step["handler"])
        except HandlerUnavailable as error:
            fix = None if "--allow" in error.message else "define it, or correct the path"
            found.append(
                _Finding(
                    code=CODE_MISSING, message=error.message, slug=slug, key="handler", fix=fix
                )
            )
            continue
        for problem in signature_problems(handler, step.get("with", {}).get("ast")):
            named = _NO_PARAMETER.search(problem)
            found.append(
                _Finding(
                    code=CODE_SIGNATURE,
                    message=f'step "{slug}": {problem}',
                    slug=slug,
                    key="with",
                    argument=named[1] if named else None,
                    fix=_parameters(handler),
                )
            )
    return _placed(found, source)


def _parameters(handler: Handler) -> str:
    """Return the fix that lists the parameters of a handler."""
    from inspect import signature

    names = [name for name in signature(handler.function).parameters if name != "ctx"]
    return f"its parameters are {', '.join(names)}" if names else "it has no parameters"


def _section(body: dict[str, Json], name: str) -> dict[str, Json]:
    section = body.get(name)
    return section if isinstance(section, dict) else {}


def _placed(found: Sequence[_Finding], source: str) -> list[Diagnostic]:
    """Give findings their places; the file is read again only if there are any."""
    if not found:
        return []
    from pgflow_yaml.language.source import parse

    document = parse(source)
    return [
        Diagnostic(
            code=each.code,
            message=each.message,
            span=_place(document, each.slug, each.key, argument=each.argument)
            or _place(document, each.slug, "handler"),
            help=each.fix,
        )
        for each in found
    ]


def _place(document: Document, slug: str, key: str, *, argument: str | None = None) -> Span | None:
    from pgflow_yaml.language.source import MappingNode
    from pgflow_yaml.language.validation.positions import step_node

    step = step_node(document.root, slug)
    node = step.get(key) if isinstance(step, MappingNode) else None
    if isinstance(node, MappingNode) and argument in node.entries:
        return document.span(node.entries[argument][0])
    return None if node is None else document.span(node)
