"""What an author sees on terminals of 60, 80 and 120 columns."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.text import cells
from tests.acceptance.screen import Screen
from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

FLOW = """flow: order
input:
  order_id: {type: integer}
  plan: {type: string, default: free}
  vip: {type: boolean, default: false}
steps:
  reserve_the_goods: {handler: shop.reserve}
  quote:
    handler: shop.quote
    depends_on: [reserve_the_goods]
    if: input.plan in ["premium", "gold", "platinum"] and input.order_id > 1000 or input.vip
  charge_the_credit_card:
    handler: shop.charge
    depends_on: [reserve_the_goods, quote]
    with: {amount: "${{ default(steps.quote.output.total, 49.90) }}"}
  wait_for_somebody_to_approve:
    wait: {event: approval, timeout: 2d}
    depends_on: [charge_the_credit_card]
  ship_it_in_each_region:
    handler: shop.ship
    depends_on: [wait_for_somebody_to_approve, charge_the_credit_card]
    map: [eu, us, asia]
  release:
    handler: shop.release
    depends_on: {charge_the_credit_card: failure, reserve_the_goods: success}
"""
CALLS = {
    "graph": ["graph", "order_of_the_shop.flow.yaml"],
    "plan": ["plan", "order_of_the_shop.flow.yaml"],
    "plan with input": ["plan", "order_of_the_shop.flow.yaml", "--input", "order_id=7"],
    "diff": ["diff", "order_of_the_shop.flow.yaml", "--against", "HEAD"],
    "no diff": ["diff", "order_of_the_shop.flow.yaml", "--against", "HEAD~1"],
    "explain": ["explain", "PF203"],
    "all codes": ["explain"],
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A repository in which the flow was changed and changed back; no database."""
    shell = Shell(tmp_path_factory.mktemp("shop"))

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        command = ["git", "-C", str(shell.folder), *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    git("init", "--quiet")
    for text in (FLOW, FLOW.replace("platinum", "silver").replace("49.90", "39.90")):
        shell.write("order_of_the_shop.flow.yaml", text)
        git("add", ".")
        git("commit", "--quiet", "--message=order")
    shell.write("order_of_the_shop.flow.yaml", FLOW)
    return shell


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_wider_than_the_terminal(shell: Shell, name: str, width: int) -> None:
    """So no line is broken in the middle of a word."""
    with Screen(shell, *CALLS[name], width=width) as screen:
        assert screen.to_the_end() == 0

    lines = [line for line in screen.lines if line.strip()]
    assert lines
    assert [line for line in lines if cells(line) > width] == []


def test_a_long_change_is_laid_below_each_other(shell: Shell) -> None:
    """What it was, what it is; where there is room, on one line."""
    with Screen(shell, *CALLS["diff"], width=60) as narrow:
        narrow.to_the_end()

    lines = [line.rstrip() for line in narrow.lines]
    at = lines.index("  ~ step charge_the_credit_card: with.amount")
    assert lines[at + 2 : at + 5 : 2] == [
        "      - ${{ default(steps.quote.output.total, 39.9) }}",
        "      + ${{ default(steps.quote.output.total, 49.9) }}",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_versions_fit_on_the_terminal(tmp_path: Path, database: str, width: int) -> None:
    """A narrow one shows fewer columns, and these in full rows."""
    shell = Shell(tmp_path, database)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shell.write("order.yaml", FLOW)
    identity = ["-c", "user.name=Augusta Ada King, Countess of Lovelace", "-c", "user.email=a@b"]
    for command in (["add", "."], [*identity, "commit", "--quiet", "--message=order"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    shell("compile", "order.yaml")
    with Screen(shell, "versions", "order", width=width) as screen:
        assert screen.to_the_end() == 0

    head, row = (line for line in screen.lines if line.strip())
    assert max(cells(head), cells(row)) <= width
    assert "AUTHOR" in head
    assert ("BY" in head) is (width >= 80)


def test_watching_clears_a_terminal_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    """The frame of the last save stands alone on the screen; exit 130."""
    shell = Shell(tmp_path)
    shell.write("good.yaml", "flow: good\nsteps:\n  a: {handler: tasks.work}\n")
    with Screen(shell, "validate", "--watch", "good.yaml", width=80) as screen:
        eventually(lambda: screen.read() and "waiting for a change" in screen.raw)
        assert screen.raw.startswith("\x1b[2J\x1b[H")
        screen.process.send_signal(signal.SIGINT)
        assert screen.to_the_end() == 130


def test_mistakes_on_a_terminal_end_with_how_to_learn_more(tmp_path: Path) -> None:
    """The code of the first error, ready to be copied; a pipe gets the count alone."""
    shell = Shell(tmp_path)
    shell.write(
        "bad.yaml",
        "flow: bad\nsteps:\n  a: {handler: m.f, with: {v: 3.10}}\n  b: {handlr: m.f}\n",
    )
    with Screen(shell, "validate", "bad.yaml", width=80) as screen:
        assert screen.to_the_end() == 1

    last = [line.strip() for line in screen.lines if line.strip()][-1]
    assert last == "1 error and 1 warning in 1 file · pgflow-yaml explain PF102"
    assert shell("validate", "bad.yaml", expect=1).err.endswith("1 warning in 1 file\n")
