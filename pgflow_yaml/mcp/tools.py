"""The tools as data: name, description, arguments as a JSON Schema, and the function behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language.inputs import check_value
from pgflow_yaml.mcp import acting, reading
from pgflow_yaml.mcp.answers import as_text
from pgflow_yaml.runs.logs import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.client import Client
    from pgflow_yaml.language.model import Json

    Field = dict[str, Json]

MOST_RUNS, MOST_WAITS, MOST_LINES = 50, 200, 500
STATUSES = ("started", "waiting", "completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that an assistant may call; `hint` says how to read what an answer leaves out.

    With `acts`, it changes something. With `ends`, it may end what goes on.
    """

    name: str
    text: str
    call: Callable[..., dict[str, Any]]
    fields: Mapping[str, Field]
    required: tuple[str, ...] = ()
    hint: str = "ask for less"
    acts: bool = False
    ends: bool = False

    @property
    def schema(self) -> dict[str, Json]:
        """The JSON Schema of the arguments."""
        fields: dict[str, Json] = dict(self.fields)
        schema: dict[str, Json] = {
            "type": "object",
            "properties": fields,
            "required": list(self.required),
            "additionalProperties": False,
        }
        return schema

    def answer(self, client: Client, given: Mapping[str, Json], by: str) -> str:
        """Call the tool and return its answer as text; raises PgflowError.

        An argument that is null counts as left out.
        """
        arguments: dict[str, Json] = {
            name: value for name, value in given.items() if value is not None
        }
        problems = check_value(self.schema, arguments, path="")
        if problems:
            sentences = (f"{each['path'] or self.name} {each['message']}" for each in problems)
            raise WrongSetting("; ".join(text.removeprefix(".") for text in sentences))
        if self.acts:
            arguments["by"] = by
        return as_text(self.call(client, **arguments), self.hint)


def _text(description: str) -> Field:
    return {"type": "string", "minLength": 1, "description": description}


def _flag(description: str) -> Field:
    return {"type": "boolean", "default": False, "description": description}


def _number(description: str, least: int, most: int | None = None) -> Field:
    number: Field = {"type": "integer", "minimum": least, "description": description}
    return number if most is None else {**number, "maximum": most}


def _one_of(words: tuple[str, ...], description: str) -> Field:
    return {"type": "string", "enum": list(words), "description": description}


def _labels(description: str) -> Field:
    return {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": description,
    }


_RUN = _text("Id of the run, the beginning of one, its key, or `last`.")
_STEP = _text("Name of a step.")
_FLOW = _text("Name of a flow.")
_COMMENT = _text("Kept with the decision.")
_ANSWER: Field = {
    "type": "object",
    "description": "The fields of the form of the step; list_waiting has it.",
}
_SINCE = _text("Only the last 30s, 10m, 2h, 7d.")
_STEPS: Field = {"type": "array", "items": {"type": "string"}}

READING = (
    Tool(
        name="list_runs",
        text="List runs, the newest first, with status, error, labels and counts of steps. "
        "Without `children`, only runs that no other run started.",
        call=reading.list_runs,
        fields={
            "flow": _FLOW,
            "status": _one_of(
                STATUSES, "waiting: started, but only waits for events, times or child runs."
            ),
            "since": _text("Only runs created in the last 30m, 2h, 7d."),
            "older": _text("Only runs created more than 30m, 2h, 7d ago: the next page."),
            "labels": _labels("Only runs with all of these labels."),
            "error": _text("Only runs with this in the type or text of the error."),
            "parent": _text("Only the child runs of this run."),
            "children": _flag("Child runs too."),
            "limit": _number("Maximum number of runs; default 20.", 1, MOST_RUNS),
        },
        hint="lower `limit`, or use the filters",
    ),
    Tool(
        name="show_run",
        text="Show a run: input, output, steps, failed attempts with traces, child runs, and "
        "why each unfinished step waits. With `step`, that step with its arguments.",
        call=reading.show_run,
        fields={
            "run": _RUN,
            "step": _STEP,
            "item": _number("One item of the map `step`.", 0),
        },
        required=("run",),
        hint="`step` shows one step, `item` one item of a map",
    ),
    Tool(
        name="explain_waiting",
        text="Explain in a sentence for each unfinished step why the run has not ended.",
        call=reading.explain_waiting,
        fields={"run": _RUN},
        required=("run",),
        hint="show_run with `step` shows one step",
    ),
    Tool(
        name="read_logs",
        text="Read the last lines that the handlers of a run printed and logged.",
        call=reading.read_logs,
        fields={
            "run": _RUN,
            "step": _text("Only this step."),
            "index": _number("Only this item of a map.", 0),
            "attempt": _number("Only this attempt.", 1),
            "failed": _flag("Only the last attempt of each task that failed."),
            "level": _one_of(LEVELS, "Only lines of this level and above."),
            "since": _SINCE,
            "limit": _number("The last N lines at most; default 200.", 1, MOST_LINES),
        },
        required=("run",),
        hint="lower `limit`, or choose by `step`, `index`, `attempt`, `level` or `since`",
    ),
    Tool(
        name="list_flows",
        text="List the flows in the database with their active versions and counts of runs.",
        call=reading.list_flows,
        fields={},
        hint="show_flow shows one flow",
    ),
    Tool(
        name="show_flow",
        text="Show the YAML of a flow, of its active version or of `version`.",
        call=reading.show_flow,
        fields={"flow": _FLOW, "version": _text("A version, or the beginning of one.")},
        required=("flow",),
        hint="`pgflow-yaml graph` draws a flow",
    ),
    Tool(
        name="list_waiting",
        text="List the events and decisions that runs wait for, the longest wait first, each "
        "with the command that answers it.",
        call=reading.list_waiting,
        fields={"limit": _number("Maximum number of waits; default 50.", 1, MOST_WAITS)},
        hint="lower `limit`; explain_waiting looks at one run",
    ),
    Tool(
        name="doctor",
        text="Look for what is wrong with the database, its queues and workers, and how to "
        "mend it. Nothing is changed.",
        call=reading.doctor,
        fields={},
    ),
)

ACTING = (
    Tool(
        name="start_run",
        text="Start a run of the active version of a flow. With `key`, a second start returns "
        "the first run.",
        call=acting.start_run,
        fields={
            "flow": _FLOW,
            "input": {"type": "object", "description": "Input of the run; show_flow has its form."},
            "key": _text("Idempotency key."),
            "labels": _labels("Labels to find the run by."),
        },
        required=("flow",),
        acts=True,
    ),
    Tool(
        name="retry_run",
        text="Run again what failed or was cancelled in a run, and all steps after it. First "
        "call it with `dry_run`: it says what would run again and what is kept.",
        call=acting.retry_run,
        fields={
            "run": _RUN,
            "steps": {**_STEPS, "description": "Only these failed steps."},
            "from_steps": {**_STEPS, "description": "From these steps on, whatever they are."},
            "only_failed": _flag(
                "Also items that a map tolerated and steps that `when_exhausted` skipped."
            ),
            "input": {"type": "object", "description": "New values over the input of the run."},
            "version": _text("Go on with another version, or `latest`."),
            "as_new": _flag("Retry a copy of the run; the run stays as it is."),
            "dry_run": _flag("Change nothing: say what would happen."),
            "yes": _flag("Agree that completed steps run again."),
        },
        required=("run",),
        acts=True,
    ),
    Tool(
        name="cancel_run",
        text="Cancel a run and its child runs. Its `finally` steps still run; cancelled again, "
        "it ends at once.",
        call=acting.cancel_run,
        fields={"run": _RUN, "reason": _text("Kept with the run.")},
        required=("run",),
        acts=True,
        ends=True,
    ),
    Tool(
        name="approve",
        text="Approve a step that waits for an event: it completes. The first decision counts.",
        call=acting.approve,
        fields={"run": _RUN, "step": _STEP, "comment": _COMMENT, "data": _ANSWER},
        required=("run", "step"),
        acts=True,
    ),
    Tool(
        name="reject",
        text="Reject a step that waits for an event: it fails. The first decision counts.",
        call=acting.reject,
        fields={"run": _RUN, "step": _STEP, "comment": _COMMENT, "data": _ANSWER},
        required=("run", "step"),
        acts=True,
        ends=True,
    ),
    Tool(
        name="send_event",
        text="Send an event to a run; the steps that wait for it complete with the data as "
        "output. The first event of a name counts.",
        call=acting.send_event,
        fields={
            "run": _RUN,
            "event": _text("Name of the event."),
            "data": {"description": "Any JSON value; null if left out."},
        },
        required=("run", "event"),
        acts=True,
    ),
)


def tools(*, actions: bool) -> dict[str, Tool]:
    """Return the tools by name: those that look, and with `actions` those that change something."""
    return {tool.name: tool for tool in (*READING, *(ACTING if actions else ()))}
