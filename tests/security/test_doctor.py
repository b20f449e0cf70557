"""`doctor --security`, and `doctor` as a member of the roles."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.client import Client
from pgflow_yaml.database import health
from pgflow_yaml.database.health import Limits, release
from pgflow_yaml.database.health.inspector import Inspector
from tests.engine.driver import Engine
from tests.security.conftest import as_login
from tests.security.test_rights import golden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from pgflow_yaml.database.health import Check


def checked(conninfo: str, name: str) -> Check:
    """One check."""
    ask = Inspector(conninfo, Limits())
    try:
        return health._made(ask, name, {**health.CHECKS, **health.SECURITY}[name])
    finally:
        ask.close()


def found(check: Check) -> list[tuple[str, str, str | None]]:
    """Its findings."""
    return [(each.severity, each.message, each.fix) for each in check.findings]


def test_the_grants_of_the_release_are_read_as_they_are() -> None:
    """The same as the golden file, which is written by hand."""
    granted = {
        (role.removeprefix("pgflow_"), f"execute {name}()")
        for name, roles in release.grants().items()
        for role in roles
    }

    assert granted == {pair for pair in golden() if pair[1].startswith("execute ")}


def test_a_guarded_database_is_secure(guarded: str) -> None:
    """Roles as released, functions of an owner who cannot log in."""
    assert found(checked(guarded, "grants")) == []
    assert found(checked(guarded, "owners")) == []
    assert checked(guarded, "owners").summary == 'all functions run as "pgflow_owner"'


def test_a_database_without_roles_says_how_to_make_them(database: str) -> None:
    """As warnings: one program on one database may well be its owner."""
    ((severity, message, fix),) = found(checked(database, "owners"))

    assert (severity, message) == (
        "warning",
        'the functions run with the rights of "pgflow", a superuser',
    )
    assert fix is not None
    assert "pgflow-yaml migrate --roles" in fix


def test_rights_beyond_the_release_are_found(
    guarded: str, owner: psycopg.Connection, logins: Callable[..., str]
) -> None:
    """Of everybody and of our roles problems, of others warnings; each revoke works."""
    owner.execute("grant execute on function pgflow.cancel_run to public")
    owner.execute("grant select on pgflow.runs to pgflow_reader")
    owner.execute("grant execute on function pgflow.deploy to pgflow_client")
    owner.execute("create function pgflow.new_one() returns int language sql as 'select 1'")
    login = logins()
    owner.execute(f"grant usage on schema pgflow to {login}".encode())

    ill = checked(guarded, "grants")

    severities = {message.split(" may ")[0]: severity for severity, message, _ in found(ill)}
    assert severities == {
        f'"{login}"': "warning",
        '"pgflow_client"': "problem",
        '"pgflow_reader"': "problem",
        "everybody": "problem",
    }
    messages = " ".join(message for _, message, _ in found(ill))
    for right in ("execute pgflow.cancel_run", "execute pgflow.new_one()", "select pgflow.runs"):
        assert right in messages
    for _, _, fix in found(ill):
        assert fix is not None
        owner.execute(fix.encode())
    assert found(checked(guarded, "grants")) == []


def test_grants_that_are_missing_are_found(guarded: str, owner: psycopg.Connection) -> None:
    """By function and role."""
    owner.execute("revoke execute on function pgflow.turn from pgflow_worker")

    ((severity, message, fix),) = found(checked(guarded, "grants"))

    assert (severity, message) == ("problem", "grants are missing: pgflow_worker on turn()")
    assert fix == "pgflow-yaml migrate --roles"


def test_workers_that_may_do_everything_are_found(
    guarded: str, owner: psycopg.Connection, worker: Engine
) -> None:
    """A member of the role of workers is none."""
    assert found(checked(guarded, "grants")) == []

    Engine(owner)

    ((severity, message, _),) = found(checked(guarded, "grants"))
    assert (severity, message) == (
        "warning",
        'workers log in as "pgflow", which may do everything',
    )


def test_functions_that_can_be_diverted_are_found_and_restored(
    guarded: str, owner: psycopg.Connection
) -> None:
    """S-14: without a path, or of another owner, who could edit them."""
    owner.execute("alter function pgflow.turn reset search_path")
    owner.execute("alter function pgflow.heartbeat owner to pgflow")

    ill = checked(guarded, "owners")

    ((severity, message, _),) = found(ill)
    assert severity == "problem"
    assert "pgflow.turn(" in message
    assert "pgflow.heartbeat(" in message


def test_a_lost_path_is_restored(guarded: str, owner: psycopg.Connection) -> None:
    """By `--fix`."""
    owner.execute("alter function pgflow.turn reset search_path")

    with Client(guarded) as client:
        (done,) = client.repair(client.examine(secure=True))

    assert done.startswith("restored functions and grants: ")
    assert found(checked(guarded, "owners")) == []


@pytest.fixture
def talkative() -> Iterator[int]:
    """A process of ours whose command line shows a password."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    words = ["pgflow-yaml", "worker", "--dsn", "postgresql://ann:hush@db.example.org/app"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process.pid
    process.communicate()


def test_a_password_in_the_process_list_is_found(database: str, talkative: int) -> None:
    """S-12: with the number of the process, and never with the password."""
    messages = [message for _, message, _ in found(checked(database, "passwords"))]

    assert f"process {talkative} shows a password in the process list" in messages
    assert "hush" not in str(found(checked(database, "passwords")))


def test_a_reader_may_see_all_that_is_not_of_the_server(
    guarded: str, logins: Callable[..., str]
) -> None:
    """Every check is made; what only a monitor sees is named; nothing is repaired."""
    login = logins("pgflow_reader")
    report = health.examine(as_login(guarded, login), secure=True)

    assert [check.check for check in report.checks if check.status == "failed"] == []
    summaries = {check.check: check.summary for check in report.checks}
    assert f'of "{login}" only: grant pg_read_all_stats' in summaries["transactions"]


def test_a_worker_is_told_what_it_may_not_see(guarded: str, logins: Callable[..., str]) -> None:
    """One sentence a check, with the role that may."""
    report = health.examine(as_login(guarded, logins("pgflow_worker")))

    failed = {check.check: check.summary for check in report.checks if check.status == "failed"}
    assert failed.keys() == {
        *("invariants", "handlers", "queues", "timers", "schedules", "size", "settings"),
    }
    assert failed["queues"] == (
        "permission denied for function list_queues; "
        "a member of pgflow_reader or the owner of the schema may"
    )
