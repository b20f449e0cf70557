"""Handlers of a checked flow, looked up and compared with the steps that call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Diagnostic, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.model import Json
    from pgflow_yaml.project import Settings
    from pgflow_yaml.source import Document

CODE_MISSING, CODE_SIGNATURE = "PF301", "PF302"


def handler_findings(source: str, body: dict[str, Json], places: Settings) -> list[Diagnostic]:
    """Import the handlers of a compiled flow; say which are missing or cannot be called so."""
    from pgflow_yaml.calls import Handlers, HandlerUnavailable, signature_problems

    handlers = Handlers(places.app_dir, places.allow)
    found: list[tuple[str, str, str, str]] = []
    steps: Any = {**_section(body, "steps"), **_section(body, "finally")}
    for slug, step in steps.items():
        if "handler" not in step:
            continue
        try:
            handler = handlers.get(step["handler"])
        except HandlerUnavailable as error:
            found.append((CODE_MISSING, error.message, slug, "handler"))
            continue
        found += [
            (CODE_SIGNATURE, f'step "{slug}": {problem}', slug, "with")
            for problem in signature_problems(handler, step.get("with", {}).get("ast"))
        ]
    return _placed(found, source)


def _section(body: dict[str, Json], name: str) -> dict[str, Json]:
    section = body.get(name)
    return section if isinstance(section, dict) else {}


def _placed(found: Sequence[tuple[str, str, str, str]], source: str) -> list[Diagnostic]:
    """Give findings their places; the file is read again only if there are any."""
    if not found:
        return []
    from pgflow_yaml.source import parse

    document = parse(source)
    return [
        Diagnostic(
            code=code,
            message=message,
            span=_place(document, slug, key) or _place(document, slug, "handler"),
        )
        for code, message, slug, key in found
    ]


def step_places(file: str, source: str) -> dict[str, str]:
    """Say file:line:column of each step of a flow file."""
    from pgflow_yaml.source import MappingNode, parse

    document = parse(source)
    places: dict[str, str] = {}
    for name in ("steps", "finally"):
        steps = document.root.get(name) if isinstance(document.root, MappingNode) else None
        if isinstance(steps, MappingNode):
            for slug, (key, _) in steps.entries.items():
                line, column = document.lines.position(key.start)
                places[slug] = f"{file}:{line}:{column}"
    return places


def _place(document: Document, slug: str, key: str) -> Span | None:
    from pgflow_yaml.source import MappingNode

    for section in ("steps", "finally"):
        node = document.root
        for name in (section, slug, key):
            node = node.get(name) if isinstance(node, MappingNode) else None
        if node is not None:
            return document.span(node)
    return None
