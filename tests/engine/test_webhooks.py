"""Webhooks in the database: what is stored, and what a server asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.engine.driver import a_step, literal, path

if TYPE_CHECKING:
    from tests.engine.driver import Engine

HOOK = {"secret": "SHOP_HOOK", "key": path("body.id"), "input": literal({})}


NONSENSE: list[object] = [
    None,
    {},
    [],
    "SHOP_HOOK",
    {"secret": None},
    {"secret": "a-b"},
    {"secret": "../x"},
    {"secret": "x" * 129},
    {**HOOK, "key": "body.id"},
    {**HOOK, "input": {}},
    {**HOOK, "more": 1},
]


def test_a_webhook_that_makes_no_sense_is_refused(engine: Engine) -> None:
    """By deploy, as PF004: a caller from SQL has no compiler."""
    for webhook in NONSENSE:
        with pytest.raises(psycopg.Error, match="webhook") as refusal:
            engine.deploy("shop", {"a": a_step()}, webhook=webhook)
        assert refusal.value.sqlstate == "PF004", webhook


def test_a_flow_that_hears_others_has_no_webhook(engine: Engine) -> None:
    """Its input is the end of a run."""
    after = {"flows": ["other"], "status": ["failed"]}
    with pytest.raises(psycopg.Error, match='"after"'):
        engine.deploy("shop", {"a": a_step()}, webhook=HOOK, after=after)


def test_the_webhook_is_that_of_the_active_version(engine: Engine) -> None:
    """With the version, so that a run starts with the same one; none for other flows."""
    engine.deploy("plain", {"a": a_step()})
    first = engine.deploy("shop", {"a": a_step()}, webhook=HOOK)
    second = engine.deploy("shop", {"a": a_step()}, webhook={"secret": "OTHER"})

    assert engine.call("get_webhook", "shop") == {
        "version": second["version"],
        "webhook": {"secret": "OTHER"},
    }
    engine.call("activate", "shop", first["version"])
    assert engine.call("get_webhook", "shop")["webhook"] == HOOK
    assert engine.call("get_webhook", "plain") is None
    assert engine.call("get_webhook", "nothing") is None
