"""Handlers of a checked flow, looked up and compared with the steps that call them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Diagnostic, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.language.model import Json
    from pgflow_yaml.language.source import Document, Node
    from pgflow_yaml.project.settings import Settings
    from pgflow_yaml.worker.calls.handler import Handler

CODE_MISSING, CODE_SIGNATURE = "PF301", "PF302"
_NO_PARAMETER = re.compile(r'has no parameter "(\w+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """A finding about a step's handler, at a key of the step whose position is not known yet."""

    code: str
    message: str
    slug: str
    key: str
    argument: str | None = None
    fix: str | None = None


def handler_findings(source: str, body: dict[str, Json], settings: Settings) -> list[Diagnostic]:
    """Import the handlers of a compiled flow; report missing ones and wrong arguments."""
    from pgflow_yaml.worker.calls import Handlers, HandlerUnavailable, signature_problems

    handlers = Handlers(settings.app_dir, settings.allow)
    findings: list[_Finding] = []
    steps: Any = {**_section(body, "steps"), **_section(body, "finally")}
    for slug, step in steps.items():
        if "handler" not in step:
            continue
        try:
            handler = handlers.get(step["handler"])
        except HandlerUnavailable as error:
            fix = None if "--allow" in error.message else "define it, or correct the path"
            findings.append(
                _Finding(
                    code=CODE_MISSING, message=error.message, slug=slug, key="handler", fix=fix
                )
            )
            continue
        for problem in signature_problems(handler, step.get("with", {}).get("ast")):
            named = _NO_PARAMETER.search(problem)
            findings.append(
                _Finding(
                    code=CODE_SIGNATURE,
                    message=f'step "{slug}": {problem}',
                    slug=slug,
                    key="with",
                    argument=named[1] if named else None,
                    fix=_parameters(handler),
                )
            )
    return _located(findings, source, str(body["flow"]))


def _parameters(handler: Handler) -> str:
    """Return the fix that lists the parameters of a handler."""
    from inspect import signature

    names = [name for name in signature(handler.function).parameters if name != "ctx"]
    return f"its parameters are {', '.join(names)}" if names else "it has no parameters"


def _section(body: dict[str, Json], name: str) -> dict[str, Json]:
    section = body.get(name)
    return section if isinstance(section, dict) else {}


def _located(findings: Sequence[_Finding], source: str, flow: str) -> list[Diagnostic]:
    """Resolve the positions of findings; parse the text again only if there are any."""
    if not findings:
        return []
    from pgflow_yaml.language.source import parse
    from pgflow_yaml.language.validation.positions import flow_node

    document = parse(source)
    root = flow_node(document.root, flow)
    return [
        Diagnostic(
            code=finding.code,
            message=finding.message,
            span=_span(document, root, finding.slug, key=finding.key, argument=finding.argument)
            or _span(document, root, finding.slug, key="handler"),
            help=finding.fix,
        )
        for finding in findings
    ]


def _span(
    document: Document, root: Node | None, slug: str, *, key: str, argument: str | None = None
) -> Span | None:
    from pgflow_yaml.language.source import MappingNode
    from pgflow_yaml.language.validation.positions import step_node

    step = step_node(root, slug)
    node = step.get(key) if isinstance(step, MappingNode) else None
    if isinstance(node, MappingNode) and argument in node.entries:
        return document.span(node.entries[argument][0])
    return None if node is None else document.span(node)
