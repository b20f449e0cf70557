"""`docs/reference/values.md`: its tables and its example are what the program does."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from pgflow_yaml.worker.calls import Handlers, Unserialisable, invoke, to_json_text
from pgflow_yaml.worker.calls.reading import InvalidArgument
from tests.docs.fenced import ROOT

if TYPE_CHECKING:
    from tests.fixtures.apps import App

PAGE = (ROOT / "docs" / "reference" / "values.md").read_text(encoding="utf-8")
TABLES = [
    [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    for table in re.findall(r"^\|(?:.*\|\n)+", PAGE, re.MULTILINE)
]


class Plan(enum.Enum):
    """The enum of the table."""

    FREE = "free"


@dataclass
class Line:
    """The dataclass of the table."""

    sku: str
    price: Decimal


class Address(BaseModel):
    """The model of the table."""

    city: str


NAMES = {
    "datetime": dt.datetime,
    "UTC": dt.UTC,
    **{kind.__name__: kind for kind in (Decimal, UUID, Path, Plan, Line, Address)},
}
REFUSED: dict[str, list[Any]] = {
    "`set`, `frozenset`": [{1, 2}, frozenset({1})],
    "`bytes`, `bytearray`": [b"x", bytearray(b"x")],
    "`timedelta`": [dt.timedelta(seconds=1)],
    "generators and other iterators": [iter([1]), (n for n in [1])],
    "NaN and infinity": [float("nan")],
    "keys other than strings, numbers, booleans and `None`": [{(1,): 1}],
}


@pytest.mark.parametrize("row", TABLES[0], ids=lambda row: row[0])
def test_each_example_has_its_json(row: list[str]) -> None:
    """The expression of the third column, written as the fourth says."""
    value = eval(row[2].strip("`"), {**NAMES})

    assert to_json_text(value) == row[3].strip("`")


@pytest.mark.parametrize("row", TABLES[1], ids=lambda row: row[0])
def test_each_refused_value_has_an_instead(row: list[str]) -> None:
    """What the second column writes is JSON."""
    for value in REFUSED.get(row[0], []):
        with pytest.raises(Unserialisable):
            to_json_text(value)
        for instead in re.findall("`([^`]+[)])`", row[1]):
            names = {"value": value, "base64": base64, "key": value}
            to_json_text(eval(instead, names))


def test_the_example_computes_what_the_page_says(app: App) -> None:
    """Its module, its input, its output and its refusal."""
    module = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    given = re.search(r"With the input `(.*?)` the output of `total` is `(.*?)`", PAGE)
    refusal = re.search(r"such as `(argument lines.*?)`", PAGE)
    assert module
    assert given
    assert refusal
    app.write("orders.py", module[1])
    handler = Handlers(app.folder).get("orders.total")
    run_input = json.loads(given[1])

    assert to_json_text(invoke(handler, run_input, None, named=True)) == given[2]
    run_input["lines"][0]["price"] = "dear"
    with pytest.raises(InvalidArgument, match=re.escape(refusal[1])):
        invoke(handler, run_input, None, named=True)
