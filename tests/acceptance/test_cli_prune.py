"""`prune`: what it prints, asks and refuses; the lists beside it."""

from __future__ import annotations

import os
import pty
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml import Client, load
from tests.acceptance.shell import COMMAND, Shell
from tests.engine.driver import Engine
from tests.engine.test_pruning_others import many
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

PRUNED = "update pgflow.runs set pruned_at = '2026-01-02 03:04:05Z' where flow_name = 'hello'"


FLOWS = {
    "also": "flow: also\nsteps: {pause: {wait: {for: 1h}}}\n",
    "hello": "flow: hello\nsteps: {greet: {handler: app.greet}}\n",
}


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A folder, and a database with two runs that have ended."""
    shell = Shell(tmp_path, database)
    with Client(as_author(database)) as client:
        for name, text in FLOWS.items():
            client.deploy(load(shell.write(f"{name}.flow.yaml", text)))
            client.cancel(client.start(name).id)
    return shell


def ask(shell: Shell, answer: bytes, *args: str) -> tuple[int, str]:
    """Run a command on a terminal and answer its question; its exit code, and what it said."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [str(COMMAND), *args],
        cwd=shell.folder,
        env=shell.environment("prune") | {"TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        said = b""
        while b"?" not in said:
            said += os.read(ours, 1000)
        os.write(ours, answer)
        try:
            while part := os.read(ours, 1000):
                said += part
        except OSError:  # the other end is closed
            pass
        code = process.wait(20)
    os.close(ours)
    return code, said.decode()


def test_prune_asks_before_it_deletes_what_is_to_be_kept(shell: Shell) -> None:
    """On a terminal; elsewhere it refuses, names what would go, and deletes nothing."""
    words = "1 run of also, 1 of hello; 1 task"
    refused = shell("prune", "--older-than", "0s", expect=2)
    assert f"this would delete {words}; add --yes" in refused.err
    assert shell("prune", "--older-than", "0s", "--dry-run").out == f"would delete {words}\n"

    no = ask(shell, b"n\n", "prune", "--older-than", "0s")
    assert len(shell("runs", "--json").json) == 2
    yes = ask(shell, b"y\n", "prune", "--older-than", "0s", "--flow", "also")

    assert f"delete {words}?" in no[1]
    assert (no[0], yes[0]) == (130, 0)
    assert "deleted 1 run of also" in yes[1]
    assert [run["flow"] for run in shell("runs", "--json").json] == ["hello"]


def test_prune_prints_numbers_as_json(shell: Shell) -> None:
    """By its names; nothing is asked where nothing would go."""
    assert shell("prune", "--older-than", "1h", "--json").json == {
        "runs": {},
        "tasks": 0,
        "workers": 0,
        "audit": 0,
        "versions": 0,
    }
    done = shell("prune", "--older-than", "0", "--yes", "--json").json
    assert done["runs"] == {"also": 1, "hello": 1}
    assert shell("prune", "--archives", "1d", "--json").json == {"messages": {}}


def test_prune_deletes_archives_when_asked(shell: Shell, database: str) -> None:
    """Of flows that create_flow made; by age, with the same question."""
    with psycopg.connect(database) as db:
        owner = "select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'pgflow'"
        db.execute(f"select set_config('role', ({owner}), false)".encode())
        db.execute("select pgflow.create_flow('theirs')")
        db.execute(
            """insert into pgmq.a_theirs (msg_id, read_ct, enqueued_at, archived_at, vt, message)
            select g, 1, now(), now() - g * interval '1 day', now(), '{}'
            from generate_series(1, 3) g"""
        )

    assert "add --yes" in shell("prune", "--archives", "1d", expect=2).err
    look = shell("prune", "--archives", "2d", "--dry-run").out
    gone = shell("prune", "--archives", "2d", "--yes", "--json").json

    assert look == "would delete 2 archived messages\n"
    assert gone == {"messages": {"theirs": 2}}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--flow", "helo"], 'there is no flow "helo" in this database; did you mean "hello"?'),
        (["--older-than", "a week"], '--older-than "a week" is not a duration'),
        (["--archives", "1d", "--flow", "hello"], "it deletes no runs"),
    ],
)
def test_prune_refuses_what_it_cannot_mean(shell: Shell, args: list[str], words: str) -> None:
    """One sentence, and exit code 2."""
    assert words in shell("prune", *args, expect=2).err


def test_prune_waits_while_another_one_prunes(shell: Shell, database: str) -> None:
    """It says so once, and goes on when the other is over."""
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("update pgflow.pruning set holder = gen_random_uuid(), until = 'infinity'")
        process = shell.start("prune")
        assert process.stderr is not None
        line = process.stderr.readline()
        db.execute("update pgflow.pruning set until = '-infinity'")
        out, err = process.communicate(timeout=20)

    assert line == "somebody else prunes at the moment; waiting for the end of that\n"
    assert (process.returncode, out, err) == (0, "nothing is old enough\n", "")


def test_prune_that_was_killed_is_done_again(tmp_path: Path, database: str) -> None:
    """What it had committed is gone, the rest is whole; the next one goes on with it."""
    shell = Shell(tmp_path, database)
    with psycopg.connect(database, autocommit=True) as db:
        engine = Engine(db)
        many(engine, 5000, live_every=50)
        process = shell.start("prune")
        eventually(lambda: engine.one("select count(*) from pgflow.runs") < 5000)
        process.kill()
        process.communicate()
        left = engine.one("select count(*) from pgflow.runs where status = 'completed'")
        mistakes = engine.violations()
        db.execute("update pgflow.pruning set until = '-infinity'")  # ten seconds later

        again = shell("prune", "--json").json

        assert (mistakes, engine.violations()) == ([], [])
        assert 0 < left < 4900
        assert again["runs"] == {"flow": left}
        assert engine.one("select count(*) from pgflow.runs") == 100


def test_a_run_that_is_being_pruned_is_shown_as_that(shell: Shell, database: str) -> None:
    """In the list, in `show`, and in both as JSON."""
    with psycopg.connect(database) as db:
        db.execute(PRUNED)

    assert "cancelled, being pruned" in shell("runs").out
    (run,) = (run for run in shell("runs", "--json").json if run["flow"] == "hello")
    shown = shell("show", run["id"]).out

    assert "being pruned" in shown
    assert "since 2026-01-02T03:04:05.000Z: steps may be missing" in shown
    assert shell("show", run["id"], "--json").json["run"]["pruned_at"] == run["pruned_at"]
    assert shell("prune").out == "deleted 1 run of hello; 1 task\n"


def test_migrate_announces_that_runs_are_deleted(tmp_path: Path, empty_database: str) -> None:
    """Once, when it brings that; on stderr."""
    shell = Shell(tmp_path, empty_database)

    first, second = shell("migrate"), shell("migrate")

    assert "workers delete ended runs after 30 days" in first.err
    assert second.err == ""
