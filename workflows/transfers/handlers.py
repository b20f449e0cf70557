"""A small bank in this database: each payment commits with the completion of its task.

No keys of past changes are kept, unlike in `workflows/order`: an attempt whose worker died has
changed nothing, and one that has changed something is never called again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from pgflow_yaml import PermanentError

if TYPE_CHECKING:
    import psycopg

    from pgflow_yaml import Context

BANK = """
create schema bank;
create table bank.accounts (owner text primary key, cents bigint check (cents >= 0));
create table bank.entries (run uuid, nr int, payer text, payee text, cents bigint,
  primary key (run, nr));
insert into bank.accounts values ('ada', 50000), ('bob', 30000), ('eve', 20000);
"""


class NoAccount(PermanentError):
    """Nobody of this name has an account."""


class NotEnough(PermanentError):
    """There is too little money in an account."""


class Payment(TypedDict):
    """An amount that goes from one account to another."""

    payer: str
    payee: str
    cents: int


def open_bank(*, tx: psycopg.Connection) -> str:
    """Make the tables unless they are there; in an application a migration does it."""
    tx.execute("select pg_advisory_xact_lock(hashtext('bank'))")
    row = tx.execute("select to_regclass('bank.accounts') is not null").fetchone()
    if row == (True,):
        return "was open"
    tx.execute(BANK)
    return "opened"


def pay(payment: Payment, ctx: Context, *, tx: psycopg.Connection) -> int:
    """Move the amount; the entry is there if and only if this task completes."""
    changes = {payment["payer"]: -payment["cents"], payment["payee"]: payment["cents"]}
    # In one order: two payments never wait for each other in a circle.
    for owner, cents in sorted(changes.items()):
        row = tx.execute(
            "select cents from bank.accounts where owner = %s for update", [owner]
        ).fetchone()
        if row is None:
            raise NoAccount(f"{owner} has no account")
        if row[0] + cents < 0:
            raise NotEnough(f"{owner} has {row[0] / 100:.2f} and should pay {-cents / 100:.2f}")
        tx.execute("update bank.accounts set cents = cents + %s where owner = %s", [cents, owner])
    tx.execute(
        "insert into bank.entries values (%s, %s, %s, %s, %s)",
        [ctx.run_id, ctx.index, payment["payer"], payment["payee"], payment["cents"]],
    )
    return payment["cents"]


async def close_day(ctx: Context, *, tx: psycopg.AsyncConnection) -> dict[str, int]:
    """Return the sums of this run's entries and of all accounts."""
    entries = await tx.execute(
        "select count(*), coalesce(sum(cents), 0)::bigint from bank.entries where run = %s",
        [ctx.run_id],
    )
    accounts = await tx.execute("select sum(cents)::bigint from bank.accounts")
    (count, moved), (total,) = (await entries.fetchall())[0], (await accounts.fetchall())[0]
    return {"entries": count, "moved": moved, "total": total}
