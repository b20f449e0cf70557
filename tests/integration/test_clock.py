"""The clock and the leases of a database that is no test's: no session moves either."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest


def test_no_session_moves_the_clock(db: psycopg.Connection) -> None:
    """No setting and no function of the schema does; a lease of 30 s ends in 30 s."""
    db.execute("set pgflow.fake_now = '2126-01-01'")
    row = db.execute("select pgflow.clock(), pgflow.now()").fetchone()
    assert row is not None
    assert all(abs(moment - datetime.now(UTC)) < timedelta(minutes=1) for moment in row)

    readers = db.execute("""select proname from pg_proc where pronamespace = 'pgflow'::regnamespace
        and (proname = 'set_clock' or prosrc ~ 'fake_now')""").fetchall()
    assert readers == []


@pytest.mark.parametrize("lease", [None, "0", "999 ms", "-1 h", "25 h", "178000000 years"])
def test_a_lease_has_bounds(db: psycopg.Connection, lease: str | None) -> None:
    """From a second to a day; a turn and a heartbeat refuse others in the same sentence."""
    worker = str(uuid4())
    db.execute("select pgflow.register_worker(%s, null, '{}')", [worker])
    calls = {
        "select pgflow.turn(%s, '[]', '{flow}', 1, %s::interval)",
        "select pgflow.heartbeat(%s, %s::interval, '[]')",
    }
    for call in calls:
        with pytest.raises(psycopg.Error, match="a lease is from 1 second to 1 day") as refused:
            db.execute(call, [worker, lease])
        assert refused.value.sqlstate == "PF006"
        db.execute(call, [worker, "1 s"])
        db.execute(call, [worker, "1 day"])
