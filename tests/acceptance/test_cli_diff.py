"""`diff`, and what git adds to `versions`."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

OLD = """flow: order
input:
  plan: {type: string, default: free}
steps:
  reserve: {handler: shop.reserve}
  charge:
    handler: shop.charge
    depends_on: [reserve]
    retry: 3
"""
NEW = OLD.replace("retry: 3", "retry: 5   # the acquirer is slow").replace("reserve}", "hold}")
WORDS = [
    "  ~ step reserve: handler shop.reserve → shop.hold",
    "  ~ step charge: retry.max_attempts 3 → 5",
]


def git(folder: Path, *arguments: str) -> str:
    """Run git as Ada, and return what it says."""
    identity = ["-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(shell: Shell, text: str) -> str:
    """Write the flow and commit it; returns the commit."""
    shell.write("order.yaml", text)
    git(shell.folder, "add", ".")
    git(shell.folder, "commit", "--quiet", "--message=order")
    return git(shell.folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Shell:
    """A repository whose last commit changed the flow; no database anywhere."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    shell = Shell(tmp_path)
    commit(shell, OLD)
    commit(shell, NEW)
    return shell


@pytest.fixture
def deployed(tmp_path: Path, database: str) -> Shell:
    """A folder whose flow is compiled."""
    shell = Shell(tmp_path, database)
    shell.write("order.yaml", OLD)
    shell("compile", "order.yaml")
    return shell


def test_a_revision_is_compared_in_words(repository: Shell) -> None:
    """Needs no database: a head, then one line for each change and nothing for comments."""
    found = repository("diff", "--against", "HEAD~1", "order.yaml", "--json").json
    head, *lines = repository("diff", "--against", "HEAD~1", "order.yaml").out.splitlines()

    old, new = (found[side]["version"] for side in ("from", "to"))
    assert head == f"order: 2 changes from HEAD~1 ({old}) to order.yaml ({new})"
    assert lines == WORDS


def test_no_difference_is_said_with_the_version(repository: Shell) -> None:
    """A file that differs in its words only is the same version."""
    shell = repository
    shell.write("order.yaml", "# words\n" + NEW)
    version = shell("validate", "order.yaml", "--json").json["files"][0]["version"]

    result = shell("diff", "order.yaml", "--against", "HEAD", "--exit-code")

    said = f"no difference: order.yaml is the same version as HEAD, {version}\n"
    assert result.out == said


def test_exit_code_tells_a_script(repository: Shell) -> None:
    """0 without a difference, 1 with one; without the option always 0."""
    repository("diff", "order.yaml", "--against", "HEAD~1", "--exit-code", expect=1)
    repository("diff", "order.yaml", "--against", "HEAD~1")


def test_json_has_every_field(repository: Shell) -> None:
    """The names are API."""
    found = repository("diff", "order.yaml", "--against", "HEAD~1", "--json").json

    assert set(found) == {"flow", "from", "to", "same", "changes"}
    assert (found["flow"], found["same"]) == ("order", False)
    assert found["from"]["name"] == "HEAD~1"
    assert set(found["to"]) == {"name", "version"}
    assert found["changes"][1] == {
        "kind": "changed",
        "path": "steps.charge.retry.max_attempts",
        "before": "3",
        "after": "5",
        "text": "step charge: retry.max_attempts 3 → 5",
    }


def test_mistakes_of_an_old_file_are_shown_with_its_revision(repository: Shell) -> None:
    """A frame as always, and exit 1; the file as it is now is fine."""
    commit(repository, OLD.replace("retry: 3", "retry: soon"))
    repository.write("order.yaml", NEW)

    result = repository("diff", "order.yaml", "--against", "HEAD", expect=1)

    assert result.err.startswith("order.yaml at HEAD:9:12: error[")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["order.yaml", "--against", "nowhere"], 'there is no revision "nowhere"'),
        (["order.yaml", "--against", "--help"], 'there is no revision "--help"'),
        (["ordr.yaml", "--against", "HEAD"], 'did you mean "order.yaml"?'),
        (["order.yaml", "--against", "HEAD", "--between", "a", "b"], "take one"),
    ],
)
def test_wrong_use_is_one_sentence(repository: Shell, args: list[str], said: str) -> None:
    """Exit 2."""
    assert said in repository("diff", *args, expect=2).err


def test_a_file_is_compared_with_the_active_version(deployed: Shell) -> None:
    """What compiling it would change."""
    shell = deployed
    assert "no difference: order.yaml is the same version as" in shell("diff", "order.yaml").out
    shell.write("order.yaml", NEW)

    assert shell("diff", "order.yaml").out.splitlines()[1:] == WORDS


def test_a_flow_that_is_not_deployed_is_new(deployed: Shell) -> None:
    """That is a difference as well."""
    deployed.write("other.yaml", OLD.replace("flow: order", "flow: other"))

    result = deployed("diff", "other.yaml", "--exit-code", expect=1)

    assert "  + flow other: new, 2 steps; no version of it is active" in result.out


def test_two_stored_versions_are_compared(deployed: Shell) -> None:
    """By the beginning of each, newest last; named by the flow or by its file."""
    shell = deployed
    shell.write("order.yaml", NEW)
    shell("compile", "order.yaml")
    new, old = (each["version"] for each in shell("versions", "order", "--json").json)

    by_flow = shell("diff", "order", "--between", old[:6], new)
    by_file = shell("diff", "order.yaml", "--between", old[:6], new)

    assert by_flow.out == by_file.out
    assert by_flow.out.splitlines()[1:] == WORDS
    assert 'no version "zz"' in shell("diff", "order", "--between", "zz", new, expect=2).err
    assert "there is no flow" in shell("diff", "ordr", "--between", old, new, expect=2).err
    no_file = shell("diff", "ordr.yaml", "--between", old, new, expect=2).err
    assert 'there is no file "ordr.yaml"; did you mean "order.yaml"?' in no_file


def test_versions_show_commit_and_author(tmp_path: Path, database: str) -> None:
    """Of the file's repository, whatever folder one is in; changed files have a plus."""
    shell = Shell(tmp_path, database)
    repository = tmp_path / "flows"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch=main")
    inner = Shell(repository, database)
    first = commit(inner, OLD)
    shell("compile", "flows/order.yaml")
    inner.write("order.yaml", NEW)
    shell("compile", "flows/order.yaml")

    dirty, clean = shell("versions", "order", "--json").json

    assert clean["git"] == {
        "commit": first,
        "branch": "main",
        "dirty": False,
        "author": "Ada Lovelace",
    }
    assert dirty["git"]["dirty"] is True
    head, *lines = shell("versions", "order").out.splitlines()
    assert head.split()[-3:] == ["COMMIT", "AUTHOR", "BY"]
    assert [re.split(" {2,}", line)[-3:-1] for line in lines] == [
        [f"{first[:8]}+ main", "Ada Lovelace"],
        [f"{first[:8]} main", "Ada Lovelace"],
    ]
