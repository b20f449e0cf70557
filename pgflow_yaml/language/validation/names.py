"""Names that an expression may read, by context (`workflow-language` §3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from pgflow_yaml.language import listening
from pgflow_yaml.language.source import Document, MappingNode, Node, SequenceNode
from pgflow_yaml.language.suggestions import did_you_mean
from pgflow_yaml.language.validation.findings import quoted
from pgflow_yaml.language.validation.keyless import keyless
from pgflow_yaml.language.validation.messages import unknown_step
from pgflow_yaml.language.webhooks import KEPT_BACK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgflow_yaml.language.graph import Ancestors
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.language.validation.steps import Known

Context = Literal[
    "if",
    "map",
    "with",
    "output",
    "repeat.until",
    "retry.if",
    "wait.for",
    "wait.until",
    "concurrency.key",
    "rate_limit.key",
    "schedule",
    "webhook.key",
    "webhook.input",
]
OF_TASKS: tuple[Context, ...] = ("with", "concurrency.key", "rate_limit.key")
"""Contexts that know `item` and `index`."""
CONDITIONS: tuple[Context, ...] = ("if", "repeat.until", "retry.if")
OF_REQUESTS: tuple[Context, ...] = ("webhook.key", "webhook.input")
"""Contexts that know the request that starts a run, and nothing else: there is no run yet."""

# Every name of the language. A name of another context is refused as such, not as unknown.
_OF_A_REQUEST = ("body", "headers")
ROOTS = frozenset(
    {
        *("input", "steps", "run", "item", "index", "secrets"),
        *("output", "iteration", "error", "attempt", *_OF_A_REQUEST),
    }
)
EVERYWHERE = frozenset({"input", "steps", "run"})
_HOME: dict[str, Context] = {
    "output": "repeat.until",
    "iteration": "repeat.until",
    "error": "retry.if",
    "attempt": "retry.if",
}
_RUN = ("id", "flow", "version", "started_at", "scheduled_at", "labels", "parent", "step")
_RUN_AT_ITS_END = ("status", "failed", "unhandled", "skipped")
_LABELS = ("run", "labels")
_PARENT = ("id", "step", "index")
_ERROR = ("type", "message", "attempts")


def roots_in(context: str) -> list[str]:
    """Return the names with which a path may begin in a context, `item` and `secrets` included."""
    if context.partition(".")[0] == "webhook":
        return list(_OF_A_REQUEST)
    own = [root for root, home in _HOME.items() if home == context]
    in_with = ["item", "index", "secrets"] if context.partition(".")[0] == "with" else []
    in_key = ["item", "index"] if context in OF_TASKS[1:] else []
    return [*own, *in_with, *in_key, *sorted(EVERYWHERE)]


def known_run_keys(*, final: bool) -> tuple[str, ...]:
    """Return the keys of `run`; `final` adds those that only `finally` knows."""
    return (*_RUN, *_RUN_AT_ITS_END) if final else _RUN


class Problem(NamedTuple):
    """Finding about a path that cannot be read; it marks the first `words` of the path."""

    code: str
    words: int
    message: str
    fix: str
    label: str | None = None
    write: str | None = None
    """The text to write over those words, where that is the fix."""


@dataclass(slots=True, kw_only=True)
class Scope:
    """Names available to the expressions of one step, or of the flow itself."""

    document: Document
    owner: str
    """`step "a"`, or the key of the flow that holds the expression."""
    step: str | None = None
    final: bool = False
    kind: str | None = None
    fields: Mapping[str, Json] | None
    fields_are_unreadable: bool
    steps: Mapping[str, object]
    finals: Mapping[str, object]
    ancestors: Ancestors | None = None
    depends_on: Node | None = None
    item: bool = False
    index: bool = False
    outer: Known | None = None

    def problem(self, root: str, rest: Sequence[str], *, context: Context) -> Problem | None:
        """Return the reason why a path cannot be read in a context, or None."""
        problem = _before_a_run(root, rest, context=context)
        if problem is None and context not in OF_REQUESTS:
            problem = self._root(root, rest, context=context)
        if problem is None and (found := keyless([root, *rest], self.fields)) is not None:
            words, message, fix, write = found
            return Problem("PF215", words, message, fix, write=write)
        return problem

    def _root(self, root: str, rest: Sequence[str], *, context: Context) -> Problem | None:
        if root == "input":
            return self._input(rest)
        if self.step is None and context == "concurrency.key" and (root, *rest)[:2] != _LABELS:
            words = (root, *rest[:1])
            message = f"`{'.'.join(words)}` is not known before a run has begun"
            return Problem("PF230", len(words), message, "read `input` or `run.labels`")
        if root == "steps":
            return self._steps(rest) if rest else None
        if root == "run":
            return self._run(rest)
        if root in ("item", "index"):
            return self._item(root, context=context)
        if root == "secrets":
            return self._secret(context=context)
        if _HOME[root] != context:
            fix = "read steps.NAME.output or steps.NAME.error of an ancestor"
            return Problem("PF230", 1, f"`{root}` is only known in `{_HOME[root]}`", fix)
        if root == "error" and rest and rest[0] not in _ERROR[:2]:
            return _no_key("an error", rest[0], _ERROR[:2], words=2)
        return None

    def _input(self, rest: Sequence[str]) -> Problem | None:
        if not rest or self.fields_are_unreadable:
            return None
        if self.fields is not None and rest[0] in self.fields:
            return None
        name = rest[0]
        if any(name in (outer.fields or {}) for outer in self._around()):
            return _not_here(f"input.{name}", name, "a field of the flow around this one")
        if not self.fields:
            message = f"input.{name} is read, but this flow declares no input"
            return Problem(
                "PF207", 2, message, f"declare it: `input: {{{name}: {{type: string}}}}`"
            )
        shown = ", ".join(list(self.fields)[:10]) + (", …" if len(self.fields) > 10 else "")
        fix = f"the input has {shown}"
        if not any(self.fields is given for given in (listening.INPUT, listening.INPUT_OF_WAITS)):
            fix += f"; or declare {name} under `input`"
        hint = did_you_mean(name, self.fields)
        return Problem("PF207", 2, f"{quoted(name)} is not a field of the input{hint}", fix)

    def _run(self, rest: Sequence[str]) -> Problem | None:
        if not rest or (self.final and rest[0] in _RUN_AT_ITS_END):
            return None
        if rest[0] in _RUN_AT_ITS_END:
            message = f"`run.{rest[0]}` is only known in `finally`"
            fix = "read steps.NAME.status"
            if self.step is not None:
                fix += " of an ancestor, or move this under `finally`"
            return Problem("PF230", 2, message, fix)
        if rest[0] == "step":
            return self._own_name()
        if rest[0] not in _RUN:
            return _no_key("a run", rest[0], known_run_keys(final=self.final), words=2)
        if rest[0] == "parent" and len(rest) > 1 and rest[1] not in _PARENT:
            return _no_key("`run.parent`", rest[1], _PARENT, words=3)
        return None

    def _own_name(self) -> Problem | None:
        if self.step is not None:
            return None
        message = f"`run.step` is only known in a step, not in {self.owner}"
        return Problem("PF230", 2, message, "write it in the steps themselves")

    def _steps(self, rest: Sequence[str]) -> Problem | None:
        if self.owner == "defaults":
            message = "`steps` is not known in `defaults`, which concern every step"
            return Problem("PF230", 1, message, "write this `retry.if` in the step that needs it")
        problem = self._step(rest[0])
        if problem is None and rest[1:2] == ["error"] and len(rest) > 2 and rest[2] not in _ERROR:
            return _no_key("an error", rest[2], _ERROR, words=4)
        return problem

    def _step(self, name: str) -> Problem | None:
        if name == self.step:
            message = f'step "{name}" reads steps.{name}, which is itself'
            return Problem("PF203", 2, message, "read a step that it depends on")
        here = name in self.steps or name in self.finals
        if not here and any(name in outer.steps for outer in self._around()):
            return _not_here(f"steps.{name}", name, "a step of the flow around this one")
        if not here:
            unknown = unknown_step(name, self.steps)
            if unknown is None:
                return None
            write = unknown.write and f"steps.{unknown.write}"
            return Problem("PF202", 2, unknown.message, unknown.fix, write=write)
        if name in self.finals and not self.final and self.owner != "output":
            message = f"{self.owner} reads steps.{name}, a finally step, which runs last"
            return Problem("PF203", 2, message, "read a step of `steps`")
        if self.step is None or self.ancestors is None or (self.final and name in self.steps):
            return None
        if self.ancestors.includes(name, of=self.step):
            return None
        message = f"{self.owner} reads steps.{name}, which is not among its ancestors"
        label = f'not an ancestor of "{self.step}"'
        return Problem("PF203", 2, message, self._depends_on_fix(name, self.step), label)

    def _depends_on_fix(self, name: str, step: str) -> str:
        if self.ancestors is not None and self.ancestors.includes(step, of=name):
            return f'"{name}" itself runs after "{step}": read it in a later step'
        node = self.depends_on
        if not isinstance(node, SequenceNode | MappingNode):
            return f"add `depends_on: [{name}]` to the step"
        line, _ = self.document.lines.position(node.start)
        more = name if isinstance(node, SequenceNode) else f"{name}: success"
        written = self.document.text[node.start : node.end]
        if written[:1] in ("[", "{") and "\n" not in written:
            inner = written[1:-1].strip().rstrip(",")
            whole = f"{written[0]}{inner}{', ' if inner else ''}{more}{written[-1]}"
            return f'add "{more}" to depends_on in line {line}:  depends_on: {whole}'
        return f'add "{more}" to depends_on in line {line}'

    def _item(self, root: str, *, context: Context) -> Problem | None:
        if context in ("if", "map"):
            reason = "`if` and `map` are decided before there are tasks"
            message = f"`{root}` is only known in `with`: {reason}"
            return Problem("PF230", 1, message, "read the list itself, as `map` does")
        if self.outer is not None and not self.index:
            return _not_here(root, root, "a name of the step around this flow", words=1)
        if context not in OF_TASKS:
            message = f"`{root}` is only known in `with`"
            return Problem("PF230", 1, message, "read the list itself, as `map` does")
        if root == "index" and not self.index:
            message = (
                f"`index` is only known in a step with `map` or `initial_tasks`; "
                f"{self.owner} has neither"
            )
            fix = "add `map:` or `initial_tasks:`, or read something else"
            return Problem("PF230", 1, message, fix)
        if root == "item" and not self.item:
            message = f"`item` is only known in a step with `map`; {self.owner} has none"
            fix = "read `index`" if self.index else "add `map:`, or read something else"
            return Problem("PF230", 1, message, fix)
        return None

    def _around(self) -> Iterator[Known]:
        outer = self.outer
        while outer is not None:
            yield outer
            outer = outer.outer

    def _secret(self, *, context: Context) -> Problem | None:
        """Refuse secrets outside of `with`: the worker alone knows them, not the database."""
        if context == "with" and self.kind == "flow":
            message = "`secrets` cannot go to a child flow: it would be stored as the child's input"
            return Problem(
                "PF230", 1, message, "name the secret in the step of the child that needs it"
            )
        if context != "with":
            message = "`secrets` is only known in `with` of a step with a `handler`"
            fix = 'give it to the handler that needs it: `with: {key: "${{ secrets.KEY }}"}`'
            return Problem("PF230", 1, message, fix)
        return None


def _before_a_run(root: str, rest: Sequence[str], *, context: Context) -> Problem | None:
    """Refuse what is not there when a schedule or webhook starts a run, and its names elsewhere."""
    if context == "schedule" and root != "run":
        message = f"`{root}` is not known in `schedule`, which gives the input of its runs"
        return Problem("PF230", 1, message, "write values, or read run.scheduled_at")
    if context in OF_REQUESTS or root in _OF_A_REQUEST:
        return _of_request(root, rest, context=context)
    return None


def _of_request(root: str, rest: Sequence[str], *, context: Context) -> Problem | None:
    """Refuse other names in a webhook, these elsewhere, and headers that no request has."""
    if context not in OF_REQUESTS:
        message = f"`{root}` is only known in `webhook`, whose request has ended when a run begins"
        fix = f'write `webhook: {{input: {{NAME: "${{{{ {root}… }}}}"}}}}`, and read input.NAME'
        return Problem("PF230", 1, message, fix)
    if root not in _OF_A_REQUEST:
        message = f"`{root}` is not known in `webhook`, whose request has no run yet"
        return Problem("PF230", 1, message, "read `body` or `headers`")
    name = rest[0] if root == "headers" and rest else ""
    if name.lower() in KEPT_BACK:
        message = f"the header {name} is not given to runs: it proves who the sender is"
        return Problem("PF215", 1, message, "leave it out")
    if name != name.lower():
        fix = f'write headers["{name.lower()}"]'
        return Problem("PF215", 1, "the names of headers are in lower case here", fix)
    return None


def _not_here(path: str, name: str, kind: str, *, words: int = 2) -> Problem:
    """Refuse a name of the flow around: this flow has a run of its own, with its own input."""
    value = f"{path}.output" if path.startswith("steps.") else path
    fix = (
        f'add `{name}: "${{{{ {value} }}}}"` to `with` of the step around it, and read input.{name}'
    )
    return Problem("PF203", words, f"{path} is {kind}, whose names are not known here", fix)


def _no_key(holder: str, name: str, known: Sequence[str], *, words: int) -> Problem:
    message = f"{holder} has no `{name}`{did_you_mean(name, known)}"
    return Problem("PF215", words, message, f"it has {', '.join(known)}")
