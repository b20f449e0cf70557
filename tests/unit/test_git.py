"""What git says about a flow file."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml import NotFound, Unavailable
from pgflow_yaml.project import git

if TYPE_CHECKING:
    from pathlib import Path


def run_git(folder: Path, *arguments: str, author: str = "Ada") -> None:
    """Run git as an author."""
    identity = ["-c", f"user.name={author}", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in a repository, committed twice: `one`, then `two`."""
    run_git(tmp_path, "init", "--quiet", "--initial-branch=trunk")
    file = tmp_path / "a flow.yaml"
    for number, text in enumerate(("one", "two")):
        file.write_text(text, encoding="utf-8")
        run_git(tmp_path, "add", ".")
        run_git(tmp_path, "commit", "--quiet", f"--message={text}", author=f"author {number}")
    return file


def test_a_commit_is_told_with_its_branch_and_author(file: Path) -> None:
    """The last commit, and that nothing was changed since."""
    facts = git.facts(file)

    assert facts is not None
    assert (facts["branch"], facts["dirty"], facts["author"]) == ("trunk", False, "author 1")
    assert len(str(facts["commit"])) == 40


def test_outside_of_a_repository_there_is_nothing_to_say(tmp_path: Path) -> None:
    """Nor in one without a commit."""
    assert git.facts(tmp_path / "x.yaml") is None

    run_git(tmp_path, "init", "--quiet")

    assert git.facts(tmp_path / "x.yaml") is None


def test_a_change_anywhere_in_the_repository_is_told(file: Path) -> None:
    """A handler that was changed matters as well; a file that git does not know does not."""
    (file.parent / "notes.txt").write_text("mine")
    assert (git.facts(file) or {})["dirty"] is False

    file.write_text("three", encoding="utf-8")

    assert (git.facts(file) or {})["dirty"] is True


def test_a_flow_file_that_was_never_committed_is_a_change(file: Path) -> None:
    """The commit does not hold what is compiled."""
    other = file.with_name("other.yaml")
    other.write_text("new", encoding="utf-8")

    assert (git.facts(other) or {})["dirty"] is True


def test_a_file_is_read_at_a_revision(file: Path) -> None:
    """By name, by commit, by distance; whatever the file holds now."""
    file.unlink()

    assert git.at_revision(file, "HEAD~1") == b"one"
    assert git.at_revision(file, "trunk") == b"two"


def test_a_link_leads_to_the_repository_of_its_file(file: Path, tmp_path_factory: Any) -> None:
    """It is the file that has a history."""
    link = tmp_path_factory.mktemp("elsewhere") / "link.yaml"
    link.symlink_to(file)

    assert git.at_revision(link, "HEAD~1") == b"one"
    assert git.facts(link) == git.facts(file)


def test_a_hook_of_another_repository_changes_nothing(
    file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git names its own repository to its hooks; the file's is asked all the same."""
    other = tmp_path_factory.mktemp("other")
    run_git(other, "init", "--quiet")
    facts = git.facts(file)

    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))

    assert git.facts(file) == facts
    assert git.at_revision(file, "HEAD~1") == b"one"


@pytest.mark.parametrize("revision", ["nowhere", "", "--help", "HEAD:a flow.yaml", "HEAD~9"])
def test_a_revision_that_is_none_is_named(file: Path, revision: str) -> None:
    """An option of git is no revision either (S-17)."""
    with pytest.raises(NotFound, match=f'no revision "{revision}" in the repository'):
        git.at_revision(file, revision)


def test_a_file_that_did_not_exist_yet_is_named(file: Path) -> None:
    """It is there, but was not then."""
    other = file.with_name("other.yaml")

    with pytest.raises(NotFound, match='"HEAD"'):
        git.at_revision(other, "HEAD")


def test_no_repository_and_no_git_are_told_apart(
    file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sentences, two exit codes."""
    outside = tmp_path_factory.mktemp("outside") / "x.yaml"
    with pytest.raises(NotFound, match="in no git repository"):
        git.at_revision(outside, "HEAD")

    monkeypatch.setenv("PATH", "")

    with pytest.raises(Unavailable, match="not installed"):
        git.at_revision(file, "HEAD")
    assert git.facts(file) is None


@pytest.mark.parametrize(
    ("key", "attribute"),
    [
        ("core.fsmonitor", None),
        ("filter.a=b.clean", "* filter=a=b"),
        ("filter.x.process", "* filter=x"),
        ("gpg.program", None),
    ],
)
def test_no_program_that_the_repository_names_is_run(
    file: Path, key: str, attribute: str | None
) -> None:
    """A folder that was unpacked from an archive may have a `.git` of somebody else's making."""
    trap = file.parent / "trap.sh"
    trap.write_text("#!/bin/sh\ntouch '" + str(file.parent / "sprung") + "'\ncat\n")
    trap.chmod(0o755)
    if attribute:
        (file.parent / ".git/info").mkdir(exist_ok=True)
        (file.parent / ".git/info/attributes").write_text(attribute + "\n")
    for name, value in ((key, str(trap)), ("log.showSignature", "true")):
        run_git(file.parent, "config", name, value)
    file.write_text("tow", encoding="utf-8")  # of the same size: git compares the content

    facts = git.facts(file)

    assert facts is not None
    assert facts["dirty"] is True
    assert git.at_revision(file, "HEAD") == b"two"
    assert not (file.parent / "sprung").exists()
