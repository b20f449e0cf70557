"""`send`, `approve`, `reject`: what is said to runs that wait, on the command line."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

FLOW = """
flow: release
steps:
  paid: {wait: {event: paid}}
  go_live: {wait: {event: go_live}, depends_on: [paid]}
"""


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A folder with a flow that waits, stored, and one run of it."""
    found = Shell(tmp_path, database)
    found.write("release.yaml", FLOW)
    found("compile", "release.yaml")
    found("start", "release", "--key", "r1")
    return found


def test_an_event_lets_a_step_go_on(shell: Shell) -> None:
    """With data from JSON or a file; a second one is told that the first stands."""
    shell.write("data.json", '{"amount": 12}')

    assert shell("send", "r1", "paid", "--data", "@data.json").out.endswith("  completed paid\n")
    assert "an earlier event" in shell("send", "last", "paid").out

    (paid, _) = shell("show", "r1", "--json").json["steps"]
    assert (paid["status"], paid["output"]) == ("completed", {"amount": 12})


def test_an_event_that_nobody_will_ever_wait_for_is_pointed_out(shell: Shell) -> None:
    """It is kept all the same; one that is only early is no mistake."""
    mistyped = shell("send", "last", "paid_")
    early = shell("send", "last", "go_live")

    assert 'kept: no step waits for "paid_" yet' in mistyped.out
    assert 'no step of release waits for an event "paid_"; did you mean "paid"?' in mistyped.err
    assert "kept" in early.out
    assert "release" not in early.err


def test_the_first_decision_stands(shell: Shell) -> None:
    """Whose it is, is kept; another one exits with 1, the same one with 0."""
    user = getpass.getuser()

    first = shell("approve", "r1", "go_live", "--comment", "green")
    again = shell("approve", "r1", "go_live", "--by", "ann")
    other = shell("reject", "r1", "go_live", "--by", "bob", expect=1)

    assert first.out.endswith(f"  go_live approved by {user}\n")
    for late in (again, other):
        assert f"nothing changed: go_live was approved by {user}" in late.out
    said = shell("reject", "r1", "go_live", "--json", expect=1).json
    assert (said["status"], said["applied"], said["by"]) == ("approved", False, user)


def test_a_rejection_fails_the_step(shell: Shell) -> None:
    """And with it the run."""
    shell("send", "r1", "paid")

    out = shell("reject", "r1", "go_live", "--comment", "not on a Friday", "--by", "bob").out

    assert out.endswith("  go_live rejected by bob\n")
    run = shell("show", "r1", "--json").json["run"]
    assert (run["status"], run["error"]["type"]) == ("failed", "Rejected")


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        (["send", "nobody", "paid"], 2, 'there is no run "nobody"'),
        (["send", "r1", "no name"], 1, "event name"),
        (["send", "r1", "paid", "--data", '{"x": }'], 1, "--data is not JSON"),
        (["send", "r1", "paid", "--data", "@nowhere.json"], 2, "cannot be read"),
        (["approve", "r1", "golive"], 2, 'has no step "golive"; did you mean "go_live"?'),
    ],
)
def test_what_cannot_be_said_is_answered_with_a_sentence(
    shell: Shell, line: list[str], code: int, sentence: str
) -> None:
    """No traceback, the right exit code, nothing changed."""
    result = shell(*line, expect=code)

    assert sentence in result.err
    assert "Traceback" not in result.err
    assert shell("show", "r1", "--json").json["run"]["status"] == "started"


ASKING = """
flow: payout
steps:
  approve:
    wait:
      event: approval
      form:
        granted: {type: number, minimum: 0}
        lines: {type: array, items: {type: object, required: [text]}, default: []}
      by: [ann, finance]
      remind: 4h
      timeout: 2d
"""


@pytest.fixture
def asking(shell: Shell) -> Shell:
    """A folder whose flow asks certain people to fill in a form, and one run of it."""
    shell.write("payout.yaml", ASKING)
    shell("compile", "payout.yaml")
    shell("start", "payout", "--key", "p1")
    return shell


def test_a_form_is_filled_in(asking: Shell) -> None:
    """From JSON or a file; a field that does not fit is named, however deep it is."""
    asking.write("bad.json", '{"granted": 5, "lines": [{"text": "a"}, {}]}')

    shallow = asking(
        "approve", "p1", "approve", "--by", "ann", "--data", '{"granted": -1}', expect=1
    )
    deep = asking("approve", "p1", "approve", "--by", "ann", "--data", "@bad.json", expect=1)
    nothing = asking("approve", "p1", "approve", "--by", "ann", expect=1)
    done = asking("approve", "p1", "approve", "--by", "ann", "--data", '{"granted": 5.0}')

    assert "the answer was refused: granted: must be at least 0" in shallow.err
    assert 'the answer was refused: lines[1]: needs "text"' in deep.err
    assert "the answer was refused: granted: is required" in nothing.err
    assert done.out.endswith("  approve approved by ann\n")
    (step,) = asking("show", "p1", "--json").json["steps"]
    assert step["output"]["data"] == {"granted": 5.0, "lines": []}


def test_who_is_not_asked_is_refused(asking: Shell) -> None:
    """With the names of those who are; an event is refused, too."""
    other = asking("reject", "p1", "approve", "--by", "bob", expect=1)
    event = asking("send", "p1", "approval", expect=1)

    assert 'step "approve" is for ann or finance to decide, not for bob' in other.err
    assert "pgflow-yaml approve" in event.err
    late = asking("reject", "p1", "approve", "--by", "ann")
    again = asking("approve", "p1", "approve", "--by", "bob", expect=1)
    assert late.out.endswith("rejected by ann\n")
    assert "nothing changed: approve was rejected by ann" in again.out


def test_what_waits_is_listed(asking: Shell) -> None:
    """As a table, and as JSON with the schemas; `--why` has the command that answers."""
    table, rows = asking("waiting").out, asking("waiting", "--json", "--limit", "5").json

    assert [(row["flow"], row["step"]) for row in rows] == [
        ("release", "paid"),
        ("payout", "approve"),
    ]
    asked = rows[1]
    assert (asked["by"], set(asked["form"])) == (["ann", "finance"], {"granted", "lines"})
    assert asked["since"] < asked["remind_at"] < asked["until"]
    assert "ann, finance" in table
    assert "granted" in table
    why = asking("show", "p1", "--why").out
    assert 'waits for event "approval" from ann or finance' in why
    assert """approve --data '{"granted": …}'""" in why
