"""The screen after a run that did not complete: what, where, with which input, what to do now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.cli.live.end_screen import ended
from pgflow_yaml.cli.live.symbols import ASCII, UNICODE, Symbols
from pgflow_yaml.text import cells
from tests.unit.snapshots import a_failure, a_run, a_snapshot, a_step, some_tasks

if TYPE_CHECKING:
    from pgflow_yaml.runs.snapshot import FailedAttempt, Snapshot

TRACE = """Traceback (most recent call last):
  File "/lib/python3.11/runner.py", line 12, in call
    return handler(**arguments)
  File "/home/ada/shop/payment.py", line 88, in charge
    raise CardTimeout(acquirer)
"""


def screen(
    snapshot: Snapshot, *errors: FailedAttempt, width: int = 100, symbols: Symbols = UNICODE
) -> list[str]:
    """The screen as lines of text."""
    positions = {"charge": "order.flow.yaml:14:3"}
    lines = ended(
        snapshot,
        errors=errors,
        width=width,
        positions=positions,
        folder="/home/ada",
        symbols=symbols,
    )
    return ["".join(words for words, _ in line) for line in lines]


def test_the_failure_screen_says_everything_at_once() -> None:
    """Step, attempts, error, line of code, input, place in the file, and a command to go on."""
    step = a_step("charge", "failed", attempts=5, max_attempts=5, handler="shop.payment.charge")
    run = a_run("failed", input={"order_id": 7, "amount": 49.9})

    lines = screen(a_snapshot(step, run=run), a_failure("charge", attempt=5, trace=TRACE))

    assert lines == [
        ' ✗ order 3f2a91c0 failed after 10.0 s: step "charge" failed, 5 of 5 attempts',
        "   shop.payment.charge: CardTimeout: acquirer b did not answer in 30 s",
        "     shop/payment.py:88 in charge     raise CardTimeout(acquirer)",
        "   order.flow.yaml:14:3",
        '   input   {"order_id": 7, "amount": 49.9}',
        "",
        "   fix and go on   pgflow-yaml retry 3f2a91c0",
        "   look            pgflow-yaml show 3f2a91c0 --step charge",
    ]


def test_the_same_error_is_said_once_and_others_are_kept() -> None:
    """Five attempts with two different errors are two lines, the latest first."""
    step = a_step("charge", "failed", attempts=5)
    errors = [a_failure("charge", id=n, attempt=n, message="slow") for n in (1, 2, 3)]
    errors += [a_failure("charge", id=n, attempt=n, message="gone") for n in (4, 5)]

    lines = screen(a_snapshot(step, run=a_run("failed")), *errors)

    assert [line for line in lines if "CardTimeout" in line] == [
        "   app.work: CardTimeout: gone",
        "   attempt 3: CardTimeout: slow",
    ]


def test_failed_items_of_a_map_are_named() -> None:
    """The index of the item stands beside its handler."""
    step = a_step("fetch", "failed", map=True, tasks=some_tasks(total=9, completed=8, failed=1))

    lines = screen(a_snapshot(step, run=a_run("failed")), a_failure("fetch", index=4))

    assert 'step "fetch" failed, 1 of 9 items' in lines[0]
    assert lines[1].startswith("   app.work[4]: CardTimeout")


def test_a_cancelled_run_is_no_failure() -> None:
    """It says cancelled, and why if the run knows."""
    run = a_run("cancelled", error={"type": "Cancelled", "message": "wrong order"})

    lines = screen(a_snapshot(a_step("a", "cancelled"), run=run))

    assert lines[0] == " ■ order 3f2a91c0 cancelled after 10.0 s"
    assert "Cancelled: wrong order" in lines[1]


def test_a_cancelled_run_without_a_reason_says_it_once() -> None:
    """`Cancelled: cancelled` under a line that says so already is noise."""
    run = a_run("cancelled", error={"type": "Cancelled", "message": "cancelled"})

    lines = screen(a_snapshot(a_step("a", "cancelled"), run=run))

    assert "".join(lines).lower().count("cancelled") == 1


def test_code_and_input_are_cut_and_messages_are_not() -> None:
    """What the user did not write is whole; the rest is cut, in columns and not in characters."""
    step = a_step("charge", "failed")
    run = a_run("failed", input={"text": "幅" * 200})
    trace = TRACE.replace("acquirer", "幅" * 100)

    lines = screen(
        a_snapshot(step, run=run), a_failure("charge", message="é" * 300, trace=trace), width=60
    )

    assert [line for line in lines if cells(line) > 60] == [
        ' ✗ order 3f2a91c0 failed after 10.0 s: step "charge" failed, 1 of 3 attempts',
        f"   app.work: CardTimeout: {'é' * 300}",
    ]


def test_what_is_cut_for_an_ascii_terminal_is_ascii() -> None:
    """The mark of what was cut is of the same set as the symbols."""
    run = a_run("failed", input={"text": "x" * 200})

    lines = screen(a_snapshot(a_step("charge", "failed"), run=run), width=60, symbols=ASCII)

    (cut,) = (line for line in lines if line.startswith("   input"))
    assert (len(cut), cut[-4:]) == (60, "x...")
    assert all(map(str.isascii, lines))


def test_the_last_lines_of_the_log_are_below_the_failure() -> None:
    """Cleaned and cut; the command that shows all of them comes first."""
    said = [[0, "info", "stdout", text] for text in ("asking", "\x1b[31mred\x1b[0m", "x" * 200)]
    step = a_step("charge", "failed", attempts=5, max_attempts=5, log=said)

    lines = screen(a_snapshot(step, run=a_run("failed")), a_failure("charge"), width=60)

    assert lines[2:4] == ["     ┆ asking", "     ┆ red"]
    assert (len(lines[4]), lines[4][-2:]) == (60, "x…")
    assert lines[-2:] == [
        "   look            pgflow-yaml logs 3f2a91c0 --step charge",
        "                   pgflow-yaml show 3f2a91c0 --step charge",
    ]
