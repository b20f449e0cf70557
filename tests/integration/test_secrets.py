"""`${{ secrets.NAME }}`: known to the handler alone (S-11, T10)."""

from __future__ import annotations

import json
import signal
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.worker.calls.secrets import PREFIX, SecretMissing, Secrets, parse_lines
from tests.engine.driver import a_step
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.worker_process import StartCli
    from tests.fixtures.working import Works

CANARY = 'c4nary "töken"/+\\31337'
TRACES = ("c4nary", "töken", "31337", "YzRuYXJ5", "M0bmFyeS", "jNG5hcnk")
LEAKS = r"""
import base64, json, logging, sys, threading, urllib.parse
from pgflow_yaml import PermanentError, RetryLater

VALUE = bytes([99, 52]).decode() + 'nary "t\xf6ken"/+\\' + str(31000 + 337)
SHOWN = [
    lambda token: token,
    lambda token: [{"deep": {"in": f"a {token} b"}}],
    lambda token: {token: 1},
    lambda token: base64.b64encode(f"user:{token}".encode()).decode(),
    lambda token: urllib.parse.quote(token),
    lambda token: json.dumps({"a": [token]}),
    lambda token: repr(token),
]

def show(how, token, ctx):
    assert token == VALUE, "the handler gets the value itself"
    ctx.log.warning("ctx.log has %s", token)
    logging.getLogger("shop.own").warning("own logger has " + token)
    print("print has", token)
    print("stderr has", json.dumps(token), file=sys.stderr)
    return SHOWN[how](token)

async def bearer(header):
    assert header == "Bearer " + VALUE
    return {"sent": header}

def fail(token):
    raise ValueError("token was " + token)

def odd(token):
    raise type("Odd_" + token, (Exception,), {})(token)

def later(token, ctx):
    if ctx.attempt > 1:
        raise PermanentError(f"never with {token}")
    error = RetryLater(f"later with {token}")
    error.delay = 0
    raise error

def chained(token):
    try:
        raise KeyError(token)
    except KeyError as error:
        raise RuntimeError(token) from error

def no_json(token):
    return {token: float("nan")}

def thread(token):
    def die():
        raise ValueError(token)
    inner = threading.Thread(target=die)
    inner.start()
    inner.join()

def keep(token):
    global kept
    kept = token

def show_kept(outputs):
    return [kept]
"""
LEAKING = """
flow: leaky
defaults: {retry: {max_attempts: 2, base_delay: 0s}}
steps:
  show:
    handler: shop.show
    map: [0, 1, 2, 3, 4, 5, 6]
    with: {how: "${{ item }}", token: "${{ secrets.CANARY }}"}
  bearer: {handler: shop.bearer, with: {header: "Bearer ${{ secrets.CANARY }}"}}
  keep: {handler: shop.keep, with: {token: "${{ secrets.CANARY }}"}}
  kept: {handler: shop.show_kept, depends_on: [keep]}
"""
FAILING = ("fail", "odd", "later", "chained", "no_json", "thread")


def leaky() -> str:
    """Start a flow whose handlers show their secret in every possible way."""
    more = (
        f"  {name}: {{handler: shop.{name}, with: {{token: '${{{{ secrets.CANARY }}}}'}},"
        " when_exhausted: skip}\n"
        for name in FAILING
    )
    return LEAKING + "".join(more)


def whole_database(db: psycopg.Connection) -> str:
    """Return every row of every table, as text."""
    tables = db.execute(
        "select table_schema, table_name from information_schema.tables"
        " where table_schema in ('pgflow', 'pgmq', 'public') and table_type = 'BASE TABLE'"
    ).fetchall()
    assert len(tables) > 10
    rows = [
        db.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(*table))).fetchall()
        for table in tables
    ]
    return "\n".join(text for row in rows for (text,) in row)


def test_a_secret_is_nowhere_but_in_the_handler(
    works: Works, db: psycopg.Connection, start_cli: StartCli
) -> None:
    """Returned, raised, logged, printed, kept for another task: no row and no line shows it."""
    works.app.write("shop.py", LEAKS)
    works.deploy(leaky())
    run = works.client.start("leaky")
    env = {PREFIX + "CANARY": CANARY}

    worker = start_cli("worker", "-v", dsn=works.database, cwd=works.app.folder, **env)

    ended = works.ended(run.id, seconds=30)
    assert ended.status == "completed", (ended.error, worker.stderr)
    worker.send(signal.SIGTERM)  # what was printed into a file is there when it has ended
    worker.wait()
    stored = whole_database(db)
    for trace in TRACES:
        assert trace not in stored
        assert trace not in worker.stderr + worker.stdout
    output = works.client.get(run.id).output
    assert isinstance(output, dict)
    assert isinstance(output["show"], list)
    assert output["show"][1] == [{"deep": {"in": "a *** b"}}]
    assert (output["bearer"], output["kept"]) == ({"sent": "Bearer ***"}, ["***"])
    errors = {step.slug: step.error for step in works.client.get(run.id).steps if step.error}
    assert set(errors) >= {"fail", "odd", "later", "chained", "no_json"}
    for line in ("ctx.log has ***", "own logger has ***", "stderr has", "Exception in thread"):
        assert line in worker.stderr
    assert "print has ***" in worker.stdout


PARTS = """
import sys, threading

def go(token, key):
    def show():
        for text in (token, key):
            for cut in (1, 7, len(text) // 2):
                print(text[:cut], end="", flush=True)
                print(text[cut:])
            print(text.encode().decode("latin-1").encode("latin-1").decode())
        sys.stdout.buffer.write(token.encode() + b"\\n")
        for line in key.splitlines():
            print(line, file=sys.stderr)
        print("shown.", end="")
    show()
    thread = threading.Thread(target=show)
    thread.start()
    thread.join()
"""
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"


def test_a_secret_printed_in_parts_is_masked(works: Works, start_cli: StartCli) -> None:
    """In the call and in a thread of it, as bytes, and a key line by line; nothing is lost."""
    works.app.write("shop.py", PARTS)
    works.deploy(
        """
        flow: parts
        steps:
          go:
            handler: shop.go
            with: {token: "${{ secrets.TOKEN }}", key: "${{ secrets.KEY }}"}
        """
    )
    run = works.client.start("parts")
    env = {PREFIX + "TOKEN": "Tok-3n/value", PREFIX + "KEY": KEY}

    worker = start_cli("worker", dsn=works.database, cwd=works.app.folder, **env)

    assert works.ended(run.id).status == "completed"
    worker.send(signal.SIGTERM)
    worker.wait()
    said = worker.stdout + worker.stderr
    for trace in ("Tok-3n", "value", "MIIEvQIB", "ADANBgkq", "hkiG9w0B", "AQEFAASC"):
        assert trace not in said
    assert worker.stdout.count("shown.") == 2
    assert worker.stdout.count("***") >= 10


def test_a_worker_refuses_a_part_of_a_secret(works: Works, db: psycopg.Connection) -> None:
    """Also where no compiler has looked at the flow; the handler is not called."""
    works.app.write("shop.py", "def go(token): return token\n")
    half = {"ast": ["index", ["path", "secrets.T"], ["lit", 0]], "paths": []}
    definition = {"flow": "half", "steps": {"go": a_step(handler="shop.go", with_=half)}}
    db.execute(
        "select pgflow.deploy(%s, '0123456789ab', array['go'], 'source')", [json.dumps(definition)]
    )
    run = works.client.start("half")

    works.drain(secrets={"T": "0123456789"}.get)

    (error,) = works.client.run_snapshot(run.id)["errors"]
    assert (error["type"], error["final"]) == ("ExpressionError", True)
    assert error["message"] == (
        "`secrets.T` can only stand alone, in a template, or be joined by `+`"
    )


def test_a_missing_secret_fails_the_attempt_for_good(works: Works) -> None:
    """The message says where to put it; a worker that has it gets the next run."""
    works.app.write("shop.py", "def go(token): return len(token)\n")
    works.deploy(
        "flow: one\nsteps:\n  go: {handler: shop.go, with: {token: '${{ secrets.API_KEY }}'}}\n"
    )
    run = works.client.start("one")

    works.drain()

    (error,) = works.client.run_snapshot(run.id)["errors"]
    assert (error["type"], error["attempt"], error["final"]) == ("SecretMissing", 1, True)
    assert error["message"] == (
        "this worker has no secret API_KEY: set PGFLOW_YAML_SECRET_API_KEY where the worker runs"
    )
    again = works.client.start("one")
    works.drain(secrets={"API_KEY": "0123456789"}.get)
    assert works.client.get(again.id).output == {"go": 10}


def test_an_async_handler_does_not_wait_for_the_secret_of_another(works: Works) -> None:
    """A provider that takes its time holds up no coroutine but its own."""
    works.app.write("shop.py", "async def go(token=None, input=None): return token\n")
    works.deploy(
        """
        flow: two
        steps:
          slow: {handler: shop.go, with: {token: "${{ secrets.SLOW }}"}}
          fast: {handler: shop.go, with: {token: plain}}
        """
    )
    asked, gate = threading.Event(), threading.Event()

    def provider(name: str) -> str:
        asked.set()
        gate.wait(20)
        return "slow-secret-value"

    works.start(secrets=provider)
    run_id = works.client.start("two").id
    assert asked.wait(20)

    def fast() -> str:
        return next(s.status for s in works.client.get(run_id).steps if s.slug == "fast")

    eventually(lambda: fast() == "completed")
    gate.set()
    assert works.ended(run_id).output == {"slow": "***", "fast": "plain"}


def test_the_log_of_a_handler_is_masked_in_any_program(
    works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    """Not only where the command line writes it; exceptions in it, too."""
    body = """
        def go(token, ctx):
            ctx.log.warning("has %s", token)
            try:
                int(token)
            except ValueError:
                ctx.log.exception("has no number")
        """
    works.app.write("shop.py", body)
    works.deploy(
        "flow: one\nsteps:\n  go: {handler: shop.go, with: {token: '${{ secrets.API_KEY }}'}}\n"
    )
    run = works.client.start("one")

    works.drain(secrets={"API_KEY": "not-for-the-log"}.get)

    assert works.client.get(run.id).status == "completed"
    assert "has ***" in caplog.text
    assert "base 10: '***'" in caplog.text
    assert "not-for-the-log" not in caplog.text


def test_a_failing_provider_is_asked_again(works: Works) -> None:
    """Its exception fails the attempt like one of the handler's, and is retried like one."""
    works.app.write("shop.py", "def go(token): return 'fine'\n")
    works.deploy(
        """
        flow: shaky
        steps:
          go:
            handler: shop.go
            with: {token: "${{ secrets.T }}"}
            retry: {max_attempts: 2, base_delay: 0s}
        """
    )
    answers = iter([ConnectionError("vault is sealed")])

    def provider(name: str) -> str:
        for error in answers:
            raise error
        return "value-of-it"

    works.start(secrets=provider)
    run = works.ended(works.client.start("shaky").id)

    assert run.output == {"go": "fine"}
    (error,) = works.client.run_snapshot(run.id)["errors"]
    assert (error["type"], error["message"]) == ("ConnectionError", "vault is sealed")


def test_secrets_come_from_a_folder_a_file_or_a_function_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret missing there is looked up in the environment, at every call."""
    monkeypatch.setenv(PREFIX + "A", "from the environment")
    monkeypatch.setenv(PREFIX + "B", "b of the environment")
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "A").write_text("from a folder\n")
    file = tmp_path / "secrets.env"
    file.write_text("# mine\nexport A = 'from a file'\nEMPTY=\n")

    for source, value in [
        (None, "from the environment"),
        (folder, "from a folder"),
        (str(file), "from a file"),
        ({"A": "from a function"}.get, "from a function"),
    ]:
        secrets = Secrets(source)
        assert (secrets.get("A"), secrets.get("B")) == (value, "b of the environment")
    (folder / "A").write_text("renewed\n")
    assert Secrets(folder).get("A") == "renewed"


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a.b", ""])
def test_a_name_from_the_database_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    """It is part of a path (S-8, S-17)."""
    (tmp_path / "outside").write_text("not for you")
    (tmp_path / "inside").mkdir()

    with pytest.raises(SecretMissing, match="has no secret"):
        Secrets(tmp_path / "inside").get(name)


def test_a_secret_must_be_text(tmp_path: Path) -> None:
    """A message for bytes, for a number from a provider, for an empty value, for no folder."""
    (tmp_path / "BYTES").write_bytes(b"\xff\xfe")
    (tmp_path / "EMPTY").write_text("\n")

    with pytest.raises(SecretMissing, match="BYTES is not UTF-8 text"):
        Secrets(tmp_path).get("BYTES")
    with pytest.raises(SecretMissing, match=f"put it into {tmp_path}, or set {PREFIX}EMPTY"):
        Secrets(tmp_path).get("EMPTY")
    with pytest.raises(SecretMissing, match="gives int, not text"):
        Secrets(lambda _: 5).get("A")  # type: ignore[arg-type,return-value]
    with pytest.raises(WrongSetting, match="no file or folder"):
        Secrets(tmp_path / "nowhere")


def test_lines_of_a_file_are_names_and_values() -> None:
    """Quotes round a value are not part of it; an equals sign in it is."""
    text = """
    # comment
    A=plain
    export B = "in quotes # kept"
    C='a=b'
    D="half
    no line
    1X=y
    """

    assert parse_lines(text) == {"A": "plain", "B": "in quotes # kept", "C": "a=b", "D": '"half'}
