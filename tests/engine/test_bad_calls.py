"""What the doors do with arguments that no client of ours would send: a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.engine.driver import a_step, a_wait

if TYPE_CHECKING:
    from tests.engine.driver import Engine

VERSION = "0123456789ab"


def _refusal(engine: Engine, door: str, *arguments: object) -> str:
    """How the door refuses these; it does not hang either."""
    engine.db.execute("set statement_timeout = '10s'")
    with pytest.raises(psycopg.Error) as refused:
        engine.call(door, *arguments)
    assert refused.value.diag.message_primary
    return str(refused.value.sqlstate)


@pytest.mark.parametrize(
    "call",
    [
        ("cancel_run", None),
        ("send_event", None, "go"),
        ("send_event", "nobody'; --", "go"),
        ("send_event", "9d0e3c5e-3b52-4b5e-8e5c-0e6a3b1f0000", "go"),
        ("approve_step", None, None),
        ("start_run", None, "{}"),
        ("start_run", "flow'; drop table runs; --", "{}"),
    ],
    ids=str,
)
def test_who_is_not_there_is_not_found(engine: Engine, call: tuple[Any, ...]) -> None:
    """A null and a hostile name are names of nothing."""
    assert _refusal(engine, *call) == "PF001"


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("", ("[]",)),
        ("", (None,)),
        ("labels", ("{}", None, None, "[]")),
        ("labels", ("{}", None, None, '{"team": {}}')),
        ("labels", ("{}", None, None, '{"\u00f6": "x"}')),
        ("labels", ("{}", None, None, json.dumps({"team": "x" * 257}))),
        ("labels", ("{}", None, None, json.dumps({f"l{n}": "x" for n in range(65)}))),
        ("key", ("{}", "long" * 300)),
        ("key", ("{}", "last")),
        ("key", ("{}", "")),
    ],
    ids=str,
)
def test_a_start_names_what_it_refuses(
    engine: Engine, field: str, arguments: tuple[Any, ...]
) -> None:
    """PF002, with the place in the detail."""
    engine.deploy("flow", {"a": a_step()})

    with pytest.raises(psycopg.Error) as refused:
        engine.call("start_run", "flow", *arguments)

    assert refused.value.sqlstate == "PF002"
    assert [found["path"] for found in json.loads(refused.value.diag.message_detail or "")] == [
        field
    ]


def test_labels_that_are_null_are_none(engine: Engine) -> None:
    """As if they had been left out."""
    arguments = (json.dumps(_definition(a=A)), VERSION, ["a"], "source", None, None, True, "null")
    engine.call("deploy", *arguments)

    run = engine.call("start_run", "bad", "{}", None, None, "null")["run_id"]

    assert engine.snapshot(run)["run"]["labels"] == {}


@pytest.mark.parametrize(
    ("state", "call"),
    [
        ("PF005", ("send_event", "RUN", None)),
        ("PF005", ("send_event", "RUN", "näme")),
        ("PF005", ("send_event", "RUN", "no name")),
        ("PF005", ("send_event", "RUN", "a" * 129)),
        ("PF002", ("send_event", "RUN", "go", json.dumps("x" * 2_097_152))),
        ("PF001", ("approve_step", "RUN", None)),
        ("PF001", ("reject_step", "RUN", "w'; --")),
        ("PF001", ("approve_step", "RUN", "nothing")),
        ("PF005", ("approve_step", "RUN", "a")),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_said_is_refused(
    engine: Engine, state: str, call: tuple[str | None, ...]
) -> None:
    """Names and sizes have bounds (R-9), nothing is stored; what is just within them is taken."""
    engine.deploy("flow", {"a": a_step(), "w": a_wait(wait={"event": "go"})})
    run = engine.start("flow")

    assert _refusal(engine, *(run if part == "RUN" else part for part in call)) == state  # type: ignore[arg-type]
    assert engine.one("select count(*) from pgflow.events") == 0
    assert engine.call("send_event", run, "b" * 128, json.dumps("x" * 2_097_150))["stored"]


def _definition(**steps: object) -> dict[str, Any]:
    return {"flow": "bad", "steps": steps}


A = {"handler": "app.work", "depends_on": {}}
NO_SCHEMAS: list[Any] = [
    1,
    None,
    {"pattern": "^a$"},
    {"$ref": "#"},
    {"type": "text"},
    {"type": []},
    {"type": ["string", 1]},
    {"enum": "a"},
    {"enum": []},
    {"minimum": "1"},
    {"multipleOf": 0},
    {"minLength": 1.5},
    {"maxItems": -1},
    {"uniqueItems": 1},
    {"required": [1]},
    {"properties": []},
    {"items": [{}]},
    {"additionalProperties": 1},
    {"items": {"properties": {"a": {"additionalProperties": {"format": "date"}}}}},
]


@pytest.mark.parametrize(
    "definition",
    [
        None,
        [],
        {"flow": "bad"},
        {"flow": "bad", "steps": []},
        _definition(a=A) | {"finally": []},
        _definition(a=1),
        _definition(**{"a-b": A}),
        _definition(a=A | {"depends_on": ["b"]}),
        _definition(a=A | {"depends_on": {"a": "success"}}),
        _definition(a=A | {"depends_on": {"b": "success"}}),
        _definition(a=A | {"depends_on": {"b": "success"}}, b=A | {"depends_on": {"a": "success"}}),
        _definition(a=A, b=A | {"depends_on": {"a": "never"}}),
        _definition(a=A, b=A | {"depends_on": {"a": None}}),
        _definition(a=A) | {"finally": {"f": A | {"depends_on": {"a": "any"}}}},
        _definition(a=A | {"timeout": "soon"}),
        _definition(a=A | {"timeout": 1e15}),
        _definition(a=A | {"initial_tasks": 100_001}),
        _definition(a=A | {"initial_tasks": 5, "max_parallel": 0}),
        _definition(a=A | {"retry": {"max_attempts": 0}}),
        _definition(a=A | {"when_unmet": "perhaps"}),
        _definition(a=A | {"queue": "pgflow__timers"}),
        *(_definition(a=A) | {"input": {"n": field}} for field in NO_SCHEMAS),
        *(_definition(a=A) | {"input_schema": schema} for schema in NO_SCHEMAS),
        _definition(a=A) | {"input": []},
        _definition(a=A) | {"input": None},
        _definition(a=A) | {"input": {"no name": {}}},
    ],
    ids=lambda value: json.dumps(value)[:100],
)
def test_a_definition_that_could_not_run_is_refused(engine: Engine, definition: Any) -> None:
    """PF004 for what would be a raw error, or a run that never ends."""
    steps = definition.get("steps", {}) if isinstance(definition, dict) else {}
    finals = definition.get("finally", {}) if isinstance(definition, dict) else {}
    arguments = (json.dumps(definition), VERSION, [*steps, *finals], "source")

    assert _refusal(engine, "deploy", *arguments) == "PF004"
    assert engine.one("select count(*) from pgflow.flows") == 0


def test_every_keyword_of_a_schema_is_taken(engine: Engine) -> None:
    """The database knows the vocabulary of the schema of the files, at each level."""
    file = Path(__file__).parents[2] / "schemas" / "workflow.schema.json"
    keywords = json.loads(file.read_text())["definitions"]["fieldSchema"]["properties"]
    values = {
        "type": ["array", "null"], "enum": [1], "examples": [], "required": ["a"],
        "properties": {"a": True}, "items": {}, "additionalProperties": False, "uniqueItems": True,
        "title": "t", "description": "d", "default": None, "const": [],
    }  # fmt: skip
    every = {keyword: values.get(keyword, 1) for keyword in keywords}
    nested = every | {"items": every, "properties": {"a b": every}}

    assert engine.deploy("fields", {"a": a_step()}, input={"n": nested})["status"] == "created"
    assert engine.deploy("whole", {"a": a_step()}, input_schema=nested)["status"] == "created"


def test_labels_of_a_flow_are_texts(engine: Engine) -> None:
    """Also of one that is deployed again."""
    definition = json.dumps(_definition(a=A))
    arguments = (definition, VERSION, ["a"], "source", None, None, True)
    engine.call("deploy", *arguments, '{"team": "ml"}')

    assert _refusal(engine, "deploy", *arguments, '{"team": 1}') == "PF004"


@pytest.mark.parametrize("slug", ["pgflow__timers", "PGFLOW__TIMERS"])
def test_nobodys_flow_takes_the_engines_queue(engine: Engine, slug: str) -> None:
    """Its tasks would be read as the clock's, and dropping it would drop the clock."""
    assert _refusal(engine, "create_flow", slug) == "PF004"


def test_many_starts_of_nothing_are_none(engine: Engine) -> None:
    """Null is as empty as an empty array."""
    engine.deploy("flow", {"a": a_step()})

    assert engine.one("select count(*) from pgflow.start_runs('flow', null)") == 0


def test_an_input_may_have_two_mebibytes(engine: Engine) -> None:
    """As the client writes it: the spaces that jsonb adds do not count."""
    engine.deploy("sized", {"a": a_step()}, input_schema={})
    fits = json.dumps([[0]] * 524_000, separators=(",", ":"))
    assert len(fits) < 2_097_152
    assert engine.call("start_run", "sized", fits)["run_id"]
    with pytest.raises(psycopg.Error, match="is refused") as refused:
        engine.call("start_run", "sized", json.dumps("x" * 2_097_151))
    assert refused.value.sqlstate == "PF002"
