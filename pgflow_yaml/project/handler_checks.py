"""Handlers of a flow file, looked up and compared with the steps that call them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Diagnostic, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def handler_findings(
    source: str, body: dict[str, Json] | None, settings: Settings
) -> list[Diagnostic]:
    """Import the handlers of a flow; report missing ones and wrong arguments.

    An invalid file has no `body`: its steps are read from the text, as far as they can be.
    """
    from pgflow_yaml.worker.calls import Handlers, HandlerUnavailable, signature_problems

    handlers = Handlers(settings.app_dir, settings.allow, settings.handlers)
    findings: list[_Finding] = []
    calls = _calls_in(source) if body is None else _calls(body)
    for slug, path, with_ in calls:
        try:
            handler = handlers.get(path)
        except HandlerUnavailable as error:
            fix = error.fix
            is_setting = "--allow" in error.message or "`handlers`" in error.message
            if fix is None and not is_setting:
                fix = "define it, or correct the path"
            findings.append(
                _Finding(
                    code=CODE_MISSING, message=error.message, slug=slug, key="handler", fix=fix
                )
            )
            continue
        for problem in signature_problems(handler, with_):
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
    return _located(findings, source, None if body is None else str(body["flow"]))


def hidden_findings(body: dict[str, Json], source: str, settings: Settings) -> list[Diagnostic]:
    """Report handlers in modules of the app dir that installed ones hide; import nothing.

    The app dir is last on the path of a worker, so it imports the installed module (S-9).
    """
    from pgflow_yaml.worker.calls import Handlers

    paths = {slug: path for slug, path, _ in _calls(body)}
    hidden = {
        path: error
        for path, error in Handlers(settings.app_dir, settings.allow, settings.handlers).unlocated(
            paths.values()
        )
        if error.hidden
    }
    findings = [
        _Finding(
            code=CODE_MISSING,
            message=f'handler "{path}": {hidden[path]}',
            slug=slug,
            key="handler",
            fix=hidden[path].fix,
        )
        for slug, path in paths.items()
        if path in hidden
    ]
    return _located(findings, source, str(body["flow"]))


def _calls(body: dict[str, Json]) -> Iterator[tuple[str, str, Json]]:
    """Yield the slug, the handler and the tree of `with` of each step of a compiled flow."""
    steps: Any = {**_section(body, "steps"), **_section(body, "finally")}
    for slug, step in steps.items():
        if "handler" in step:
            yield slug, step["handler"], step.get("with", {}).get("ast")


def _calls_in(source: str) -> Iterator[tuple[str, str, Json]]:
    """Yield the same from the text of an invalid file, where a handler can be looked up."""
    from pgflow_yaml.language.handler_paths import never
    from pgflow_yaml.language.source import MappingNode, ScalarNode, parse

    root = parse(source).root
    for section in ("steps", "finally"):
        steps = root.get(section) if isinstance(root, MappingNode) else None
        for slug, (_, step) in steps.entries.items() if isinstance(steps, MappingNode) else ():
            handler = step.get("handler") if isinstance(step, MappingNode) else None
            if not isinstance(handler, ScalarNode) or never(handler.text) is not None:
                continue
            with_ = step.get("with") if isinstance(step, MappingNode) else None
            tree: Json = None if with_ is None else ["lit", None]
            if isinstance(with_, MappingNode):
                tree = ["dict", *(part for key in with_.entries for part in (key, None))]
            yield slug, handler.text, tree


def _parameters(handler: Handler) -> str:
    """Return the fix that lists the parameters of a handler."""
    from inspect import signature

    names = [name for name in signature(handler.function).parameters if name != "ctx"]
    return f"its parameters are {', '.join(names)}" if names else "it has no parameters"


def _section(body: dict[str, Json], name: str) -> dict[str, Json]:
    section = body.get(name)
    return section if isinstance(section, dict) else {}


def _located(findings: Sequence[_Finding], source: str, flow: str | None) -> list[Diagnostic]:
    """Resolve the positions of findings; parse the text again only if there are any."""
    if not findings:
        return []
    from pgflow_yaml.language.source import parse
    from pgflow_yaml.language.validation.positions import flow_node

    document = parse(source)
    root = document.root if flow is None else flow_node(document.root, flow)
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
