"""What `show --step` tells of a call: its arguments, and one item of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

HANDLERS = """
def pay(item, token):
    if item["id"] == 2: raise ValueError("no funds")
    return item["id"] * 10
def total(input): return 7
"""
FLOW = """flow: shop
input: {orders: {type: array}}
steps:
  pay:
    handler: tasks.pay
    map: input.orders
    with: {item: "${{ item }}", token: "Bearer ${{ secrets.API_TOKEN }}"}
    retry: 1
    tolerate: 1
  total: {handler: tasks.total}
  report: {handler: tasks.total, depends_on: [total]}
  never: {handler: tasks.total, if: steps.total.output > 9, depends_on: [total]}
  ask: {wait: {event: go}, depends_on: [report]}
  last: {flow: inner, with: {n: "${{ steps.report.output }}"}, depends_on: [ask]}
"""
INNER = "flow: inner\ninput: {n: {type: integer}}\nsteps: {work: {handler: tasks.total}}\n"
ORDERS = '{"orders": [{"id": 1}, {"id": 2}]}'


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A run that waits for an event, with a failed item, a skipped step and a step to come."""
    shell = Shell(tmp_path, database, {"PGFLOW_YAML_SECRET_API_TOKEN": "hush-hush-1"})
    shell.write("tasks.py", HANDLERS)
    shell.write("shop.yaml", FLOW)
    shell.write("inner.yaml", INNER)
    shell("compile", "shop.yaml", "inner.yaml")
    shell("start", "shop", "--input", ORDERS)
    shell("worker", "--burst")
    return shell


def test_show_tells_what_a_step_was_called_with(shell: Shell) -> None:
    """As the handler got it, secrets masked; one that was not called says so.

    An item is shown alone, with its own status, output or error.
    """

    def line(*args: str) -> str:
        lines = shell("show", "last", "--step", *args).out.splitlines()
        return next(line for line in lines if line.startswith("   arguments")).split(None, 1)[1]

    def json(*args: str) -> dict[str, object]:
        found: dict[str, object] = shell("show", "last", "--step", *args, "--json").json["steps"][0]
        return found

    called = {"item": {"id": 2}, "token": "Bearer ***"}
    assert line("report") == '{"total": 7}'
    assert line("pay", "--item", "1") == '{"item": {"id": 2}, "token": "Bearer ***"}'
    assert line("never") == "none, it was never called"
    assert line("last") == "none yet, it waits"
    assert json("report")["arguments"] == {"total": 7}
    assert not {"arguments", "arguments_error"} & json("last").keys()
    item = json("pay", "--item", "1")["item"]
    assert isinstance(item, dict)
    assert (item["status"], item["attempts"], item["arguments"]) == ("failed", 1, called)
    assert [error["message"] for error in item["errors"]] == ["no funds"]

    shell("send", "last", "go")
    shell("worker", "--burst")

    assert line("last") == '{"n": 7}'
    assert "child run" in shell("show", "last", "--step", "last").out
    assert "hush-hush" not in shell("show", "last", "--json").out

    paid = shell("show", "last", "--step", "pay", "--item", "0").out
    unpaid = shell("show", "last", "--step", "pay", "--item", "1").out

    assert "--item N shows those of one" in shell("show", "last", "--step", "pay").out
    assert paid.startswith(" pay[0]  completed\n")
    assert paid.splitlines()[-1].split() == ["output", "10"]
    assert unpaid.startswith(" pay[1]  failed\n")
    assert "ValueError: no funds" in unpaid
    missing = shell("show", "last", "--step", "pay", "--item", "2", expect=2)
    assert 'step "pay" has no item 2: the last one is 1' in missing.err
    single = shell("show", "last", "--step", "total", "--item", "0", expect=2)
    assert 'step "total" has no items' in single.err
    assert "--item needs --step" in shell("show", "last", "--item", "0", expect=2).err
