"""Handlers of a flow file, looked up and compared with the steps that call them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import Diagnostic, Severity, Span
from pgflow_yaml.language.handler_paths import GUARDED
from pgflow_yaml.project.stock_checks import CODE_BUILT, stock_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
    severity: Severity = "error"


def handler_findings(
    source: str, body: dict[str, Json] | None, settings: Settings
) -> list[Diagnostic]:
    """Import the handlers of a flow; report missing ones and wrong arguments.

    An invalid file has no `body`: its steps are read from the text, as far as they can be.
    """
    from pgflow_yaml.worker.calls import Handlers, HandlerUnavailable

    handlers = Handlers(settings.app_dir, settings.allow, settings.handlers)
    stock = Handlers(settings.app_dir, GUARDED)
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
            if path not in GUARDED:
                continue
            handler = stock.get(path)  # its other mistakes can be seen all the same
        findings += _argument_findings(slug, handler, with_)
    return _located(findings, source, None if body is None else str(body["flow"]))


def hidden_findings(body: dict[str, Json], source: str, settings: Settings) -> list[Diagnostic]:
    """Report handlers in modules of the app dir that installed ones hide; import no such module.

    The app dir is last on the path of a worker, so it imports the installed module (S-9). The stock
    handlers are compared with their steps all the same, as they are the same everywhere.
    """
    from pgflow_yaml.worker.calls import Handlers

    paths = {slug: path for slug, path, _ in _calls(body)}
    stock = Handlers(settings.app_dir, GUARDED)
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
    for slug, path, with_ in _calls(body):
        if path in GUARDED:
            findings += _argument_findings(slug, stock.get(path), with_)
    return _located(findings, source, str(body["flow"]))


def needed(bodies: Iterable[dict[str, Json]]) -> list[str]:
    """Return the handlers that a worker must be allowed to call, to run these flows."""
    return sorted({path for body in bodies for _, path, _ in _calls(body)} & GUARDED)


def _argument_findings(slug: str, handler: Handler, with_: Json) -> Iterator[_Finding]:
    """Yield the mismatches between a handler and the `with` of its step."""
    from pgflow_yaml.worker.calls import signature_problems

    for problem in signature_problems(handler, with_):
        named = _NO_PARAMETER.search(problem)
        yield _Finding(
            code=CODE_SIGNATURE,
            message=f'step "{slug}": {problem}',
            slug=slug,
            key="with",
            argument=named[1] if named else None,
            fix=_parameters(handler),
        )
    for mistake in stock_problems(handler.path, with_):
        yield _Finding(
            code=mistake.code,
            message=f'step "{slug}": {mistake.message}',
            slug=slug,
            key="with",
            argument=mistake.argument,
            fix=mistake.fix,
            severity="warning" if mistake.code == CODE_BUILT else "error",
        )


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

    given = {"ctx", "tx"} if handler.takes_tx else {"ctx"}
    names = [name for name in signature(handler.function).parameters if name not in given]
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
            severity=finding.severity,
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
