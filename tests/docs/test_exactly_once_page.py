"""`docs/how-to/exactly-once.md`: its table, handlers and flow do what the page says."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.worker.calls import Handlers, signature_problems
from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, everything
from tests.docs.project import write

if TYPE_CHECKING:
    import psycopg

    from pgflow_yaml.language.model import Json
    from tests.fixtures.apps import App

PAGE = ROOT / "docs" / "how-to" / "exactly-once.md"


def test_the_commands_run_in_order(app: App, database: str, db: psycopg.Connection) -> None:
    """The payment is there once, although its run is started again with the same order."""
    files: dict[str, str] = {}
    shell = Shell(app.folder, database)
    outputs: list[str] = []
    for block in everything(PAGE):
        if block.language == "sql":
            db.execute("set search_path = public")
            db.execute(block.text.encode())
            db.execute("grant all on payments to public")
        elif write(files, block):
            for name, text in files.items():
                shell.write(name, text)
        elif block.language == "sh":
            outputs += [shell(*shlex.split(line)[1:]).out for line in block.text.splitlines()]

    assert outputs[-1] == '{"total": 4990}\n'
    assert db.execute("select * from payments").fetchall() == [("4711", 4990)]


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("value, *, tx", None),
        ("value, *, tx: psycopg.Connection", None),
        ("value, *, tx: 'psycopg.Connection[object]'", None),
        ("value, *, tx: psycopg.Connection | None = None", None),
        ("value, *, tx: Unknown", None),
        ("value, tx='mine'", None),
        ("value, tx", "also needs tx"),
        ("value, tx: psycopg.Connection", "only after a `*`"),
        ("value, *, tx: psycopg.AsyncConnection", "is a `psycopg.Connection`"),
        ("value, *, tx: str", "is a `psycopg.Connection`"),
    ],
)
def test_the_shapes_that_the_page_names(app: App, parameters: str, problem: str | None) -> None:
    """Keyword-only with a fitting annotation or none; what would be given something else is not."""
    lines = ("from __future__ import annotations", "import psycopg", f"def f({parameters}): pass")
    app.write("shop.py", "\n".join(lines))

    found = signature_problems(Handlers(app.folder).get("shop.f"))

    assert [problem is not None and problem in text for text in found] == [True] * bool(problem)


def test_a_value_for_tx_is_refused(app: App) -> None:
    """By `validate --import`, which tells how to get a transaction where one is meant."""
    app.write("shop.py", "def f(a, *, tx): pass\ndef g(a, tx): pass\nasync def h(a, *, tx): pass")
    handlers = Handlers(app.folder)
    without: list[Json] = ["dict", "a", 1]
    with_tx = [*without, "tx", 2]

    assert signature_problems(handlers.get("shop.f"), without) == []
    assert signature_problems(handlers.get("shop.h"), without) == []
    assert signature_problems(handlers.get("shop.f"), with_tx) == ['shop.f() has no parameter "tx"']
    (problem,) = signature_problems(handlers.get("shop.g"), without)
    assert re.search(r"needs \"tx\".*after a `\*`", problem)
