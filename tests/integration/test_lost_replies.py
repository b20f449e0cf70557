"""The reply to a word of a person is lost: the client asks again, and gets the first answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml import Client
from tests.fixtures.roles import as_author

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.proxy import Proxy
    from tests.fixtures.working import Works

FLOW = """
flow: asked
steps:
  paid: {wait: {event: paid}}
  ok: {wait: {event: approval}}
"""


@pytest.mark.parametrize(
    ("word", "arguments", "answer"),
    [
        ("cancel", [], {"cancelled": True, "status": "cancelled"}),
        ("send", ["paid", 1], {"already": False, "stored": False, "steps": ("paid",)}),
        ("approve", ["ok"], {"applied": True, "status": "approved"}),
        ("reject", ["ok"], {"applied": True, "status": "rejected"}),
    ],
)
def test_a_word_whose_reply_is_lost_is_the_one_that_counts(
    works: Works, proxy: Proxy, word: str, arguments: list[Any], answer: dict[str, Any]
) -> None:
    """It was committed: said again by the same call, it is not "already" there."""
    works.deploy(FLOW)
    run = works.client.start("asked").id

    with Client(as_author(proxy.conninfo)) as client:
        client.get(run)
        proxy.swallow_reply_to(run.encode())
        reply = getattr(client, word)(run, *arguments)

    assert proxy.swallowed == 1
    assert {key: getattr(reply, key) for key in answer} == answer


def test_a_cancel_whose_reply_is_lost_does_not_end_the_clean_up(
    works: Works, db: psycopg.Connection, proxy: Proxy
) -> None:
    """Sent twice, it is one cancel; the next call is the second."""
    works.deploy("flow: tidy\nsteps:\n  a: {wait: {for: 1h}}\nfinally:\n  z: {wait: {for: 1h}}\n")
    run = works.client.start("tidy").id

    with Client(as_author(proxy.conninfo)) as client:
        client.get(run)
        proxy.swallow_reply_to(run.encode())
        first = client.cancel(run)
        second = client.cancel(run)

    assert proxy.swallowed == 1
    assert (first.status, first.outcome, first.cancelled) == ("started", "cancelled", True)
    assert (second.status, second.cancelled) == ("cancelled", True)
