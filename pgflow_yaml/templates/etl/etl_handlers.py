"""The functions of etl.flow.yaml."""

import csv
import sqlite3
from pathlib import Path


def extract(source: str) -> list[dict[str, str]]:
    """Read all rows of a CSV file."""
    with Path(source).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def clean(rows: list[dict[str, str]]) -> list[dict[str, object]]:
    """Convert the columns to their types; leave out rows without a number."""
    return [
        {"id": int(row["id"]), "customer": row["customer"].strip(), "cents": cents}
        for row in rows
        if (cents := _cents(row["amount"])) is not None
    ]


def load(rows: list[dict[str, object]], target: str) -> dict[str, object]:
    """Write the rows; to write them again changes nothing, so a retry is safe."""
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    with database:
        database.execute(
            "create table if not exists orders "
            "(id integer primary key, customer text, cents integer)"
        )
        database.executemany("replace into orders values (:id, :customer, :cents)", rows)
    database.close()
    return {"rows": len(rows), "cents": sum(int(str(row["cents"])) for row in rows)}


def warn(dropped: int) -> str:
    """Return the number of rows that were left out."""
    return f"{dropped} rows had no amount"


def _cents(text: str) -> int | None:
    whole, _, part = text.strip().partition(".")
    if not whole.isdecimal() or not (part.isdecimal() or not part):
        return None
    return int(whole) * 100 + int(part.ljust(2, "0")[:2] or 0)
