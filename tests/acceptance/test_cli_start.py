"""What everybody meets first: help, version, typing mistakes, the choice of a database."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.cli.app import run
from tests.acceptance.shell import COMMAND, Shell

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """The command in an empty folder, without a database."""
    return Shell(tmp_path)


def test_help_has_five_sections_and_every_command(shell: Shell) -> None:
    """Without arguments, with -h and with --help it is the same page."""
    page = shell("--help").out

    assert page == shell("-h").out == shell().out
    headings = [line for line in page.splitlines() if line.endswith(":") and line[0] != " "]
    assert headings == ["Write:", "Deploy:", "Run:", "Watch:", "Act:", "Options:"]


def test_the_version_is_that_of_the_package(shell: Shell) -> None:
    """`--version` names the installed release."""
    from importlib.metadata import version

    assert shell("--version").out == f"pgflow-yaml {version('pgflow-yaml')}\n"
    assert shell("--version", "--json").json == {"version": version("pgflow-yaml")}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["vlaidate", "x"], 'there is no command "vlaidate"; did you mean "validate"?'),
        (["runs", "--satus", "failed"], 'there is no option "--satus"; did you mean "--status"?'),
        (["--jsn", "runs"], 'there is no option "--jsn"; did you mean "--json"?'),
    ],
)
def test_a_typing_mistake_is_answered(shell: Shell, typed: list[str], meant: str) -> None:
    """Unknown commands and options name the nearest known one, exit 2, on one line."""
    result = shell(*typed, expect=2)

    assert meant in result.err
    assert result.err.count("\n") == 1
    assert result.out == ""


def test_a_usage_error_is_json_when_asked(shell: Shell) -> None:
    """With `--json` stdout parses even then; the option counts before and after the command."""
    for args in (["--json", "show"], ["show", "--json"]):
        result = shell(*args, expect=2)

        assert result.json["error"]["code"] == "usage"
        assert result.err == ""


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--lease", "0"], {}, "--lease: 0 is not a positive number"),
        (["--lease", "999ms"], {}, "--lease: a lease is from 1 second to 1 day, not 0.999 s"),
        (["--lease", "25h"], {}, "--lease: a lease is from 1 second to 1 day, not 90000 s"),
        (["--lease", "nan"], {}, '--lease "nan" is not a duration'),
        ([], {"PGFLOW_YAML_LEASE": "0"}, "PGFLOW_YAML_LEASE: 0 is not a positive number"),
        ([], {"PGFLOW_YAML_CONCURRENCY": "x"}, "PGFLOW_YAML_CONCURRENCY: x is not a positive"),
    ],
)
def test_a_worker_without_a_lease_or_hands_is_a_usage_error(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    """Said on the command line or once for the project, a value that cannot be is exit 2."""
    result = Shell(tmp_path, env=environment)("worker", *arguments, expect=2)

    assert said in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ada:secret@localhost/db",
        "postgresql://ada@localhost/db?password=secret",
        "host=localhost password=secret",
        "host=localhost password = 'secret'",
    ],
)
def test_a_password_on_the_command_line_is_refused(shell: Shell, dsn: str) -> None:
    """S-12: it would stand in the process list; the sentence says where to put it instead."""
    result = shell("runs", "--dsn", dsn, expect=2)

    assert "DATABASE_URL" in result.err
    assert "secret" not in result.err


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ada:s3cr3t@127.0.0.1:1/db",
        "postgresql://ada:s3cr3t@[127.0.0.1/db",
        "mysql://ada:s3cr3t@127.0.0.1/db",
        "host=127.0.0.1 port=1 password=s3cr3t",
        "password='s3cr3t' nonsense",
    ],
)
def test_a_forced_password_is_masked(shell: Shell, dsn: str) -> None:
    """With --insecure-dsn it is used, and stands in no output, not even in a traceback."""
    result = shell("--debug", "runs", "--insecure-dsn", "--dsn", dsn, expect=3)

    assert "s3cr3t" not in result.out + result.err


def test_a_database_that_is_not_there_is_one_sentence(shell: Shell) -> None:
    """Exit 3, one line, no traceback; --debug adds it."""
    plain = shell("runs", "--dsn", "host=/nowhere", expect=3)
    debugged = shell("runs", "--debug", "--dsn", "host=/nowhere", expect=3)

    assert plain.err.count("\n") == 1
    assert "No such file or directory" in plain.err
    assert "Traceback" not in plain.err
    assert "Traceback" in debugged.err


def test_a_real_database_is_never_migrated_by_surprise(tmp_path: Path, empty_database: str) -> None:
    """Commands look and refuse with exit 3; `migrate` applies; then they work."""
    shell = Shell(tmp_path, env={"DATABASE_URL": empty_database})  # as its owner in any case

    refused = shell("runs", expect=3)
    assert "pgflow-yaml migrate" in refused.err
    assert refused.err.count("\n") == 1

    assert shell("migrate", "--json").json["applied"]
    assert shell("runs", "--json").json == []


def test_migrate_tells_what_it_did(tmp_path: Path, empty_database: str) -> None:
    """--status lists, --dry-run prints SQL and changes nothing, twice is up to date."""
    shell = Shell(tmp_path, empty_database)

    assert {file["state"] for file in shell("migrate", "--status", "--json").json} == {"pending"}
    assert "create table" in shell("migrate", "--dry-run").out
    shell("migrate")
    assert {file["state"] for file in shell("migrate", "--status", "--json").json} == {"applied"}
    assert shell("migrate").out == "up to date\n"


def test_a_dry_run_needs_no_database(shell: Shell) -> None:
    """Without a named database, it is the SQL for an empty one, and nothing is started."""
    assert "create table" in shell("migrate", "--dry-run", "--json").json["sql"]
    assert not (shell.folder / ".pgflow").exists()


def in_sh(shell: Shell, line: str) -> subprocess.CompletedProcess[str]:
    """What a line of shell script does in the folder."""
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=shell.folder,
        env=shell.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    """`pgflow-yaml migrate --dry-run | head -1` prints one line and nothing about pipes."""
    line = f"{COMMAND} migrate --dry-run | head -n 1"

    done = in_sh(shell, line)

    assert done.returncode == 0
    assert done.stdout == "begin;\n"
    assert done.stderr == ""


def test_an_unexpected_error_says_how_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug of ours is exit 4 and one line that asks for a report."""

    def broken(_: str | None, **_options: object) -> str:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr("pgflow_yaml.database.migrate.dry_run_sql", broken)

    code = run(["migrate", "--dry-run"])

    said = capsys.readouterr().err
    assert code == 4
    assert said.count("\n") == 1
    assert "ZeroDivisionError: division by zero: a bug in pgflow-yaml" in said


def test_a_folder_that_is_gone_is_one_sentence(shell: Shell) -> None:
    """What the system refuses is no bug of ours: exit 3."""
    line = f'mkdir gone && cd gone && rmdir "$PWD" && exec {COMMAND} runs'

    done = in_sh(shell, line)

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("file", ["hello.flow.yaml", "flows/hello.yml"])
def test_a_file_is_not_started(shell: Shell, file: str) -> None:
    """`start` takes a name: the answer has both commands, and no database is asked."""
    said = shell("start", file, expect=2).err

    assert f"pgflow-yaml compile {file}" in said
    assert "pgflow-yaml start hello`" in said


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("ö=x", "is not a name"),
        ("a b=c", "is not a name"),
        ("-x=c", "write a letter, then"),
        ("=c", 'label "=c" has no name'),
        (f"{'n' * 64}=x", "is not a name"),
        (f"team={'x' * 257}", "has 257 characters; write up to 256"),
    ],
)
def test_a_label_has_the_rules_of_a_file(shell: Shell, label: str, said: str) -> None:
    """What `labels` of a flow may not hold, `--label` does not take either."""
    assert said in shell("start", "hello", "--label", label, expect=2).err
