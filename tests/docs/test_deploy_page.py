"""The page about deployment: its files are there, its SQL is a number for a reader."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg

from tests.deploy.files import DEPLOY
from tests.docs.fenced import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "how-to" / "deploy.md"


def deployed() -> set[Path]:
    """All files of deploy/."""
    return {file for file in DEPLOY.rglob("*") if file.is_file()}


def test_the_page_names_each_file_that_is_there() -> None:
    """In its table, with the folder; and in its commands no other."""
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"[\w@-]+\.(?:service|yaml)\b|\bDockerfile\b", text))
    used = {ROOT / name for name in re.findall(r"deploy/[\w./@-]*\w", text)}

    assert named == {file.name for file in deployed()}
    assert used <= deployed()


def test_each_query_of_the_page_is_one_number_for_a_reader(guarded: str) -> None:
    """One row, one column, not null: a scaler can read nothing else."""
    queries = [
        query for block in blocks("sql", [PAGE]) for query in block.text.split(";") if query.strip()
    ]
    with psycopg.connect(guarded) as connection:
        connection.execute("set role pgflow_reader")
        found = [connection.execute(query.encode()).fetchall() for query in queries]

    assert found == [[(0,)]] * 3
