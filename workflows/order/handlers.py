"""A small shop: stock, accounts and parcels, in one SQLite file.

Each change is made under the key of its task in the transaction that notes the key: a handler that
is called again, because its worker died before it could report, finds its own outcome.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

from pgflow_yaml import PermanentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml import Context

Outcome = TypeVar("Outcome")

BOOKS = """
create table if not exists stock (article text primary key, pieces int, cents int);
create table if not exists accounts (customer text primary key, cents int);
create table if not exists done (key text primary key, outcome text);
insert or ignore into stock values ('lamp', 40, 4990), ('desk', 3, 24900);
insert or ignore into accounts values ('ada', 500000), ('bob', 1000);
"""
COUNTRIES = frozenset({"AT", "CH", "DE", "FR", "IT", "NL", "PL"})


class NotEnough(Exception):
    """There are too few pieces, or there is too little money."""


class NotServed(PermanentError):
    """Parcels are not sent to this country."""


class Reservation(TypedDict):
    """Reserved pieces and their price."""

    pieces: int
    cents: int


class Payment(TypedDict):
    """Charge to an account."""

    cents: int


def reserve(folder: str, article: str, pieces: int, ctx: Context) -> Reservation:
    """Reserve pieces of an article."""

    def change(books: sqlite3.Connection) -> Reservation:
        row = books.execute("select pieces, cents from stock where article = ?", [article])
        there, cents = row.fetchone() or (0, 0)
        if there < pieces:
            raise PermanentError(f"{pieces} of {article} are wanted, {there} are there")
        books.execute("update stock set pieces = pieces - ? where article = ?", [pieces, article])
        return {"pieces": pieces, "cents": cents * pieces}

    return once(folder, ctx.idempotency_key, change)


def charge(folder: str, customer: str, cents: int, ctx: Context) -> Payment:
    """Charge an account."""

    def change(books: sqlite3.Connection) -> Payment:
        row = books.execute("select cents from accounts where customer = ?", [customer])
        (there,) = row.fetchone() or (0,)
        if there < cents:
            raise NotEnough(f"{customer} has {there / 100:.2f} and should pay {cents / 100:.2f}")
        books.execute("update accounts set cents = cents - ? where customer = ?", [cents, customer])
        return {"cents": cents}

    return once(folder, ctx.idempotency_key, change)


def ship(folder: str, order: str, customer: str, country: str) -> str:
    """Write the label of the parcel; writing it again changes nothing."""
    if country not in COUNTRIES:
        raise NotServed(f"no parcels go to {country}")
    label = Path(folder) / f"{order}.label"
    label.write_text(f"{customer}, {country}\n", encoding="utf-8")
    return str(label)


def refund(folder: str, customer: str, cents: int, ctx: Context) -> Payment:
    """Refund a charge."""

    def change(books: sqlite3.Connection) -> Payment:
        books.execute("update accounts set cents = cents + ? where customer = ?", [cents, customer])
        return {"cents": -cents}

    return once(folder, ctx.idempotency_key, change)


def release(folder: str, article: str, pieces: int, ctx: Context) -> Reservation:
    """Release reserved pieces."""

    def change(books: sqlite3.Connection) -> Reservation:
        books.execute("update stock set pieces = pieces + ? where article = ?", [pieces, article])
        return {"pieces": -pieces, "cents": 0}

    return once(folder, ctx.idempotency_key, change)


def once(folder: str, key: str, change: Callable[[sqlite3.Connection], Outcome]) -> Outcome:
    """Change the books once per key, and return the outcome of that change."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(Path(folder) / "books.sqlite", timeout=5)) as books:
        books.executescript(BOOKS)
        with books:
            books.execute("begin immediate")
            row = books.execute("select outcome from done where key = ?", [key]).fetchone()
            if row is not None:
                known: Outcome = json.loads(row[0])
                return known
            outcome = change(books)
            books.execute("insert into done values (?, ?)", [key, json.dumps(outcome)])
    return outcome
