"""`docs/how-to/python.md`: its programs run in order and do what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.docs.fenced import ROOT, everything
from tests.docs.project import write
from tests.docs.test_readme import EXAMPLE_URL

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "how-to" / "python.md"


@pytest.mark.timeout(120)
def test_the_programs_run_in_order(database: str, tmp_path: Path) -> None:
    """With the address of a real database: start, work, approve, and a start in a transaction."""
    files: dict[str, str] = {}
    for block in everything(PAGE):
        assert write(files, block), block.position
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace(EXAMPLE_URL, database), encoding="utf-8")

    def output(program: str) -> str:
        done = subprocess.run(
            [sys.executable, program],
            cwd=tmp_path,
            env={**os.environ, "DATABASE_URL": database},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert output("start.py") == "started"
    output("work.py")
    approved = output("approve.py")
    output("invoice.py")
    assert output("burst.py") == "{'name': 'Grace'}"
    assert output("health.py").startswith("problem ['fsync is off")  # the server is not durable
    assert output("tidy.py") == "0 0"
    assert output("local.py") == "unchanged"
    assert output("handlers.py") == "1"

    assert "grace" in approved
    with psycopg.connect(database) as connection:
        invoices = connection.execute("select order_id from invoices").fetchall()
        keys = connection.execute("select run_key from pgflow.runs order by run_key").fetchall()
    assert invoices == [("4711",)]
    assert keys == [("burst",), ("greeting-1",), ("order-4711",)]
