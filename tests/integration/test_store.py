"""The connection: what is tried again, what is not, and what is said (R-7, S-12)."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml import Client, NotFound, PgflowError, SchemaMismatch, Unavailable
from pgflow_yaml.database.store import Refused, Store, dial
from pgflow_yaml.database.store.errors import message_of
from pgflow_yaml.text import mask_passwords
from tests.fixtures.roles import as_author
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pgflow_yaml.database.embedded import LocalServer
    from pgflow_yaml.language.model import Json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cret@db/app", "postgresql://me:***@db/app"),
        ('missing "=" after "postgres://u:p%40w@h"', 'missing "=" after "postgres://u:***@h"'),
        ("postgres://u:p@ss/w:o@rd@h:5432/db?x=1", "postgres://u:***@h:5432/db?x=1"),
        ("cannot reach u:p@ss@h now", "cannot reach u:***@h now"),
        ("postgres://:s3cret@h/db", "postgres://:***@h/db"),
        ("host=db password=s3cret user=me", "host=db password=*** user=me"),
        ("host=db password='s3 cret' user=me", "host=db password=*** user=me"),
        ("postgresql://db/app?password=s3cret&sslmode=off", "postgresql://db/app?password=***&sslmode=off"),
        ("PASSWORD=s3cret", "PASSWORD=***"),
        ("host=db user=me", "host=db user=me"),
        ("postgresql://db:5432/app", "postgresql://db:5432/app"),
    ],
)  # fmt: skip
def test_passwords_are_masked(text: str, shown: str) -> None:
    """No spelling of a connection string shows its password."""
    assert mask_passwords(text) == shown


@pytest.mark.parametrize(
    "conninfo",
    [
        "postgresql://me:s3cret@db?passwort=x",
        "host=/nowhere passwort=s3cret",
        "://me:s3cret@x",
        "postgres://me:p@s3cret@localhost:1/db",
        "postgres://me:s3/s3cret@localhost:1/db",
    ],
)
def test_a_broken_conninfo_is_refused_without_its_password(conninfo: str) -> None:
    """One sentence, at once; the secret is in no part of the exception chain that is shown."""
    with pytest.raises((Unavailable, Refused)) as refused:
        Store(conninfo, patience=None, pause=lambda _: pytest.fail("tried again")).served_queues()

    assert "s3cret" not in str(refused.value)


def test_an_unreachable_server_is_told_after_bounded_tries() -> None:
    """Unavailable within the patience; whoever could revive the server was asked to."""
    revived: list[None] = []
    store = Store("host=/nowhere", patience=0.5, on_lost=lambda: revived.append(None))
    began = time.monotonic()

    with pytest.raises(Unavailable, match="cannot connect to the database"):
        store.served_queues()

    assert time.monotonic() - began < 10
    assert revived


def test_a_database_that_does_not_exist_is_not_waited_for(server: LocalServer) -> None:
    """Trying again would not help."""
    began = time.monotonic()

    with pytest.raises(Unavailable, match='"no_such_database" does not exist'):
        Store(server.conninfo("no_such_database"), patience=20).served_queues()

    assert time.monotonic() - began < 15


def test_a_database_without_our_tables_is_told_what_to_do(empty_database: str) -> None:
    """SchemaMismatch names the command."""
    with Store(empty_database) as store, pytest.raises(SchemaMismatch, match="pgflow-yaml migrate"):
        store.list_flows()


def test_a_slow_statement_is_ended_and_tried_a_few_times(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that always takes too long must not go on for ever."""
    monkeypatch.setattr(dial, "_LIMITS", "-c statement_timeout=50ms")
    pauses: list[float] = []

    with (
        Store(database, patience=None, pause=pauses.append) as store,
        pytest.raises(Refused, match="statement timeout"),
    ):
        store.ask("select pg_sleep(5)", [])

    assert len(pauses) == 2


def test_an_interrupted_statement_fails_at_once(database: str) -> None:
    """Another thread can cut a connection that does not answer."""
    store = Store(database, patience=0.0)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            store.ask("select pg_sleep(20)", [])
        except Unavailable as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: store.busy_since is not None)
    store.interrupt()
    thread.join(15)

    assert len(errors) == 1
    store.close()


def test_the_pauses_between_attempts_grow_with_full_jitter() -> None:
    """From 0.1 to 4 s, drawn evenly: whoever waits is back in less than 5 s (R-7, G5)."""
    pauses: list[float] = []

    class Enough(Exception):
        """Ends the attempts."""

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 60:
            raise Enough

    with pytest.raises(Enough):
        Store("host=/nowhere", patience=None, pause=pause).served_queues()

    assert max(pauses[:2]) <= 0.15
    assert max(pauses) <= 4
    assert 0.7 < sum(pauses[-40:]) / 40 < 3.3


def test_a_server_that_only_reads_is_left_for_another(
    database: str, db: psycopg.Connection
) -> None:
    """After a failover, a new connection may find the primary; nothing is lost meanwhile."""
    (name,) = db.execute("select current_database()").fetchone() or ("",)
    alter = f"alter database {name} %s default_transaction_read_only"
    db.execute((alter % "set" + " = on").encode())
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        db.execute((alter % "reset").encode())

    with Store(database, pause=pause) as store:
        store.register_worker("7e57ab1e-0000-4000-8000-000000000000", None, {})

    assert len(pauses) == 1


def test_what_is_said_is_the_reason_not_the_question_after_it() -> None:
    """The error of the driver's library has several lines; the first says what happened."""
    with pytest.raises(Unavailable, match=r"No such file or directory$"):
        Store("host=/nowhere", patience=0.0).served_queues()


def test_errors_of_our_own_are_exceptions_of_ours(database: str) -> None:
    """PF001 is NotFound, PF003 the sentence of the database; an unknown error keeps its state."""
    with Store(database) as store:
        with pytest.raises(NotFound, match='no flow "x"'):
            store.activate("x", "abc")
        with pytest.raises(Refused) as refused:
            store.ask("select 1 / 0", [])

    assert refused.value.sqlstate == "22012"
    assert isinstance(refused.value, PgflowError)


BREAKS_ONCE = """
create sequence public.calls;
grant usage on sequence public.calls to public;
alter function pgflow.start_run rename to start_run_really;
create function pgflow.start_run(
  p_name text, p_input jsonb, p_key text, p_version text, p_labels jsonb = null,
  p_trace text = null, p_at timestamptz = null
)
returns jsonb language plpgsql as $$
begin
  if nextval('public.calls') = 1 then
    perform pg_terminate_backend(pg_backend_pid());
    perform pg_sleep(5);
  end if;
  return pgflow.start_run_really(p_name, p_input, p_key, p_version, p_labels, p_trace);
end $$;
"""


def test_a_start_without_a_key_is_not_repeated_blindly(
    database: str, db: psycopg.Connection
) -> None:
    """Whether it happened is unknown, and said so; with a key it is simply tried again."""
    _deploy(database)
    db.execute(BREAKS_ONCE.encode())

    with Client(as_author(database)) as client:
        with pytest.raises(Unavailable, match="may or may not"):
            client.start_run("idle")
        db.execute("alter sequence public.calls restart")
        assert client.start_run("idle", key="k").created


def test_the_limits_are_set_on_each_connection(database: str) -> None:
    """Statements and idle transactions have an end; sessions say who they are."""
    with Store(database, name="pgflow-yaml test") as store:
        limits = store.ask(
            "select array[current_setting('statement_timeout'), "
            "current_setting('idle_in_transaction_session_timeout'), "
            "current_setting('application_name')]",
            [],
        )

    assert limits == ["30s", "1min", "pgflow-yaml test"]


def test_a_pooler_without_startup_options_is_served() -> None:
    """A pgbouncer refuses `options`; the second attempt does without (R-7)."""
    asked: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(2):
            peer, _ = listener.accept()
            with peer:
                peer.recv(8)  # asks for encryption
                peer.sendall(b"N")
                asked.append(peer.recv(1000))
                if b"options" in asked[-1]:
                    fields = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
                    peer.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)

    thread = threading.Thread(target=serve)
    thread.start()
    conninfo = f"host=127.0.0.1 port={listener.getsockname()[1]} user=u dbname=d gssencmode=disable"
    with pytest.raises(Unavailable):
        Store(conninfo, patience=0.0).served_queues()
    thread.join(15)
    listener.close()

    assert [b"options" in each for each in asked] == [True, False]


def _deploy(database: str) -> None:
    from pgflow_yaml.language.compiler import version_of
    from pgflow_yaml.language.model import Definition

    body: dict[str, Json] = {"flow": "idle", "steps": {}}
    with Client(as_author(database)) as client:
        client.deploy(
            Definition(
                name="idle",
                version=version_of(body),
                body=body,
                order=(),
                description=None,
                source="",
            )
        )


def test_the_reason_is_the_main_line_of_the_driver() -> None:
    """Its DETAIL, its questions and the other hosts of the conninfo follow that line."""
    text = (
        'connection failed: connection to server at "127.0.0.1", port 5432 failed: '
        "FATAL:  the database system is not accepting connections\n"
        "DETAIL:  Hot standby mode is disabled.\nMultiple connection attempts failed."
    )

    message = message_of(psycopg.OperationalError(text))

    assert message.endswith("FATAL:  the database system is not accepting connections")


MANY_FILES = """
import os, resource, sys
from pgflow_yaml.database.store.dial import Dial
most = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
try:
    for _ in range(1100): last = os.open(os.devnull, os.O_RDONLY)
except OSError: os.close(last)  # enough for a socket, not for waiting on it
try: Dial(sys.argv[1], "many files").connection().close()
except Exception as error: sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize(
    ("most", "said"), [(2000, ""), (200, "OperationalError: the system refused: Too many open")]
)
def test_a_process_with_many_files_connects_or_says_that_it_cannot(
    database: str, most: int, said: str
) -> None:
    """Handlers that open files end no worker: it connects beyond 1,024, and waits beyond all."""
    program = [sys.executable, "-c", MANY_FILES, database, str(most)]

    ended = subprocess.run(program, check=False, capture_output=True, text=True, timeout=20)

    assert ended.stderr.startswith(said)
    assert bool(ended.stderr) == bool(said)
