"""Names and versions above immutable flows; what a start checks."""

from __future__ import annotations

import json
import threading
from typing import Any

import psycopg
import pytest

from tests.engine.driver import Engine, a_child, a_step


def test_the_same_definition_again_writes_nothing(engine: Engine) -> None:
    """R-12: status unchanged, and no row of any table is touched."""
    engine.deploy("flow", {"a": a_step()})
    before = _rows(engine)

    again = engine.deploy("flow", {"a": a_step()})

    assert (again["status"], again["active"]) == ("unchanged", True)
    assert _rows(engine) == before


def test_a_flow_is_stored_set_by_set(engine: Engine) -> None:
    """One statement writes all steps and one all edges, whose order is that of the file."""
    steps = {"c": a_step(), "b": a_step("c"), "a": a_step("c", "b")}
    engine.db.execute("""
        create function public.tell() returns trigger language plpgsql as
        $$ begin raise notice 'written: %', tg_table_name; return null; end $$;
        create trigger tell after insert on pgflow.steps execute function public.tell();
        create trigger tell after insert on pgflow.deps execute function public.tell()""")
    told = list[str]()
    engine.db.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))

    engine.deploy("flow", steps)

    written = [line for line in told if line.startswith("written: ")]
    assert written == ["written: steps", "written: deps"]
    numbered = engine.db.execute(
        "select step_slug, step_index, deps_count from pgflow.steps order by 2"
    )
    assert numbered.fetchall() == [
        ("c", 0, 0),
        ("b", 1, 1),
        ("a", 2, 2),
    ]
    edges = engine.db.execute(
        "select dep_slug, step_slug from pgflow.deps order by 2, 1"
    ).fetchall()
    assert edges == [("b", "a"), ("c", "a"), ("c", "b")]


def test_a_run_stays_on_the_version_it_began_with(engine: Engine) -> None:
    """R-13: the new definition is for the next run."""
    engine.deploy("flow", {"a": a_step(), "b": a_step("a")})
    old = engine.start("flow")
    engine.deploy("flow", {"a": a_step()})
    new = engine.start("flow")

    engine.work("flow")

    assert engine.statuses(old) == {"a": "completed", "b": "completed"}
    assert engine.statuses(new) == {"a": "completed"}


def test_an_older_version_can_be_made_active_again(engine: Engine) -> None:
    """By a unique beginning of its hash, or by deploying the same file."""
    first = engine.deploy("flow", {"a": a_step()})
    second = engine.deploy("flow", {"b": a_step()})

    back = engine.call("activate", "flow", first["version"][:6])
    redeployed = engine.deploy("flow", {"b": a_step()})

    assert (back["version"], back["status"]) == (first["version"], "activated")
    assert (redeployed["version"], redeployed["status"]) == (second["version"], "activated")
    active = [row["version"] for row in engine.call("list_versions", "flow") if row["active"]]
    assert active == [second["version"]]


def test_a_deploy_need_not_activate(engine: Engine) -> None:
    """`compile --no-activate`: stored, startable by name and version, not the default."""
    engine.deploy("flow", {"a": a_step()})
    body = json.dumps({"flow": "flow", "steps": {"b": a_step()}})

    stored = engine.one(
        "select pgflow.deploy(%s, 'abcdefabcdef', '{b}', 'x', p_activate => false)", body
    )
    run = engine.one("select pgflow.start_run('flow', '{}', null, 'abcdef')")

    assert stored["active"] is False
    assert engine.call("get_definition", "flow")["version"] != "abcdefabcdef"
    assert engine.statuses(run["run_id"]) == {"b": "started"}
    engine.work("flow")


def test_eight_sessions_may_deploy_the_same_and_other_files_at_once(
    engine: Engine, database: str
) -> None:
    """F28, D8: one version each, no error, every step numbered once."""
    barrier, errors = threading.Barrier(8), list[Exception]()

    def deploy(number: int) -> None:
        try:
            with psycopg.connect(database, autocommit=True) as connection:
                worker = Engine(connection)
                barrier.wait()
                worker.deploy("flow", {f"s{n}": a_step() for n in range(3 + number % 2)})
        except Exception as error:  # noqa: BLE001  # shown below, whatever it is
            errors.append(error)

    threads = [threading.Thread(target=deploy, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    versions = engine.call("list_versions", "flow")
    assert len(versions) == 2
    assert sum(version["active"] for version in versions) == 1
    assert engine.one("select array_agg(step_index order by step_index) from pgflow.steps") == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"flow": "Upper"},
        {"flow": "two__underscores"},
        {"flow": "drop table"},
        {"flow": "x" * 48},
        {"steps": {"a": a_step() | {"wait": {"for": 1}}}},
        {"steps": {"a": a_step(), "b": a_step()}},
    ],
)
def test_a_definition_that_no_compiler_makes_is_refused(
    engine: Engine, change: dict[str, Any]
) -> None:
    """S-13: a name is an identifier here; keys of later releases are not dropped in silence."""
    body = {"flow": "flow", "steps": {"a": a_step()}} | change

    with pytest.raises(psycopg.Error) as refused:
        engine.call("deploy", json.dumps(body), "0" * 12, ["a"], "source")

    assert refused.value.sqlstate == "PF004"


def test_a_key_makes_a_start_idempotent(engine: Engine) -> None:
    """The same key and input: the same run. Another input: an error that names the run."""
    engine.deploy("flow", {"a": a_step()}, input={"n": {"type": "integer", "default": 1}})

    first = engine.call("start_run", "flow", "{}", "order-7")
    again = engine.call("start_run", "flow", '{"n": 1}', "order-7")
    with pytest.raises(psycopg.Error) as other:
        engine.call("start_run", "flow", '{"n": 2}', "order-7")

    assert (first["created"], again["created"]) == (True, False)
    assert first["run_id"] == again["run_id"]
    assert other.value.sqlstate == "PF003"
    assert first["run_id"] in str(other.value)
    engine.work("flow")


def test_unknown_names_are_said_so(engine: Engine) -> None:
    """PF001 for a flow, a version, a run, and for a name without an active version."""
    engine.deploy("flow", {"a": a_step()})
    engine.db.execute("update pgflow.definitions set active = false")

    for query, sentence in {
        "select pgflow.start_run('nope')": 'there is no flow "nope" in this database',
        "select pgflow.start_run('flow', '{}', null, 'ffff')": 'flow "flow" has no version "ffff"',
        "select pgflow.start_run('flow')": "has no active version",
        "select pgflow.cancel_run('00000000-0000-0000-0000-000000000000')": "there is no run",
    }.items():
        with pytest.raises(psycopg.Error, match=sentence) as refused:
            engine.one(query)
        assert refused.value.sqlstate == "PF001"


INPUT = {
    "id": {"type": "integer", "minimum": 1, "maximum": 9},
    "plan": {"enum": ["free", "paid"], "default": "free"},
    "tags": {"type": "array", "maxItems": 2, "default": []},
    "note": {"type": ["string", "null"], "minLength": 2, "default": None},
}


@pytest.mark.parametrize(
    ("run_input", "problems"),
    [
        ({"id": 1}, {}),
        ({"id": 1.0, "note": "ok"}, {}),
        ({}, {"id": "is required"}),
        ({"id": 0}, {"id": "must be at least 1"}),
        ({"id": 10}, {"id": "must be at most 9"}),
        ({"id": 1.5}, {"id": "must be integer, not number"}),
        ({"id": True}, {"id": "must be integer, not boolean"}),
        ({"id": 1, "plan": "gold"}, {"plan": 'must be one of ["free", "paid"]'}),
        ({"id": 1, "tags": [1, 2, 3]}, {"tags": "must have at most 2 items"}),
        ({"id": 1, "note": "x"}, {"note": "must have at least 2 characters"}),
        (
            {"id": "1", "extra": 1},
            {"id": "must be integer, not string", "extra": 'is not an input of flow "flow"'},
        ),
        ([], {"": "must be an object, not array"}),
    ],
)
def test_a_start_checks_its_input(
    engine: Engine, run_input: object, problems: dict[str, str]
) -> None:
    """In SQL, because SQL callers come that way too; every problem at once; defaults put in."""
    engine.deploy("flow", {"a": a_step()}, input=INPUT)

    if not problems:
        run = engine.call("start_run", "flow", json.dumps(run_input))["run_id"]
        defaults: dict[str, object] = {"plan": "free", "tags": [], "note": None}
        assert engine.snapshot(run)["run"]["input"] == defaults | dict(run_input)  # type: ignore[call-overload]
        engine.work("flow")
    else:
        with pytest.raises(psycopg.Error) as refused:
            engine.call("start_run", "flow", json.dumps(run_input))
        assert refused.value.sqlstate == "PF002"
        found = {
            p["path"]: p["message"] for p in json.loads(refused.value.diag.message_detail or "")
        }
        assert found == problems


def test_a_flow_without_input_takes_only_an_empty_object(engine: Engine) -> None:
    """What nothing reads is a mistake of the caller."""
    engine.deploy("flow", {"a": a_step()})

    with pytest.raises(psycopg.Error, match="refused"):
        engine.call("start_run", "flow", '{"n": 1}')


def test_many_runs_start_in_one_commit(engine: Engine) -> None:
    """start_runs gives the ids in the order of the inputs."""
    engine.deploy("flow", {"a": a_step()}, input={"n": {"type": "integer"}})

    ids = engine.db.execute(
        "select pgflow.start_runs('flow', array['{\"n\": 3}', '{\"n\": 1}']::jsonb[])"
    ).fetchall()

    inputs = [engine.snapshot(run)["run"]["input"] for (run,) in ids]
    assert inputs == [{"n": 3}, {"n": 1}]
    assert len(engine.work("flow")) == 2


def test_lists_tell_flows_versions_and_runs(engine: Engine) -> None:
    """The same truth for the command line, the API and psql."""
    engine.deploy("flow", {"a": a_step()})
    run = engine.start("flow", key="mine")
    engine.work("flow")
    engine.start("flow")

    (flow,) = engine.call("list_flows")
    (version,) = engine.call("list_versions", "flow")
    runs = engine.call("list_runs", "flow", "completed")

    counts = {"started": 1, "completed": 1, "failed": 0, "cancelled": 0}
    assert flow["runs"] == counts | {"more": False}
    assert (version["active"], version["live"]) == (True, 1)
    assert [row["id"] for row in runs] == [run]
    assert engine.call("find_run", run[:8]) == [run]
    assert engine.call("find_run", "mine") == [run]
    assert engine.call("find_run", "last") != [run]
    assert engine.call("find_run", "' or true --") == []
    engine.work("flow")


def test_a_key_hides_no_run(engine: Engine) -> None:
    """An id comes before a key, a key before the beginning of an id."""
    engine.deploy("flow", {"a": a_step()})
    engine.deploy("other", {"a": a_step()})
    run = engine.start("flow")
    same = engine.start("flow", key=run)
    short = engine.start("flow", key=run[:8])
    both = {engine.start("other", key=run[:8]), short}

    assert engine.call("find_run", run) == engine.call("find_run", run.upper()) == [run]
    assert set(engine.call("find_run", run[:8])) == both
    assert engine.call("find_run", run[:9]) == [run]
    assert engine.call("find_run", same[:13]) == [same]
    for queue in ("flow", "other"):
        engine.work(queue)


def test_child_runs_are_listed_on_request_only(engine: Engine) -> None:
    """The latest run is one that somebody started, not one of its thousand children."""
    engine.deploy("child", {"a": a_step()})
    engine.deploy("parent", {"all": a_child("child")})
    run = engine.start("parent")
    engine.work("parent")

    listed = engine.call("list_runs")
    every = engine.call("list_runs", None, None, None, 20, None, True)

    assert [row["id"] for row in listed] == engine.call("find_run", "last") == [run]
    assert sorted(row["flow"] for row in every) == ["child", "parent"]
    assert engine.call("list_runs", "child") == []
    engine.work("child")


def _rows(engine: Engine) -> list[Any]:
    tables = ("flows", "steps", "deps", "definitions", "audit")
    return [
        engine.db.execute(
            f"select xmin::text, ctid::text from pgflow.{table} order by 2".encode()
        ).fetchall()
        for table in tables
    ]
