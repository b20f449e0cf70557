"""Starts by webhooks, on a database: what starts a run, and what a stranger can learn."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import threading
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from pgflow_yaml import Client
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.web import hooks
from pgflow_yaml.web.hooks import LARGEST, REFUSED, Reply, handle
from pgflow_yaml.worker.calls.secrets import Secrets
from tests.fixtures.roles import as_program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.working import Works

NOW = 1_700_000_000.0
SECRET = "c4nary of the shop"
ORDER = """
flow: order
input: {id: {type: integer}, event: {type: string, default: ""}}
webhook:
  secret: SHOP_HOOK
  key: '"order-" + str(body.order.id)'
  input: {id: "${{ body.order.id }}", event: '${{ default(headers["x-event"], "") }}'}
steps: {a: {wait: {event: go}}}
"""
PLAIN = """
flow: plain
input_schema: {}
webhook: {secret: SHOP_HOOK}
steps: {a: {wait: {event: go}}}
"""
CLOSED = "{flow: closed, steps: {a: {wait: {event: go}}}}"
NOBODYS = "{flow: nobodys, webhook: {secret: NOT_HERE}, steps: {a: {wait: {event: go}}}}"


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    """The secrets of a server, as a folder holds them for workers."""
    (tmp_path / "SHOP_HOOK").write_text(f"{SECRET}\n")
    return Secrets(tmp_path)


def signed(body: bytes, secret: str = SECRET) -> list[tuple[str, str]]:
    """The header of GitHub's form, as a client writes it."""
    made = hmac.digest(secret.encode(), body, "sha256")
    return [("X-Hub-Signature-256", f"sha256={made.hex()}")]


def timed(body: bytes, at: float = NOW) -> list[tuple[str, str]]:
    """The header of Stripe's form."""
    made = hmac.digest(SECRET.encode(), f"{at:.0f}.".encode() + body, "sha256")
    return [("Stripe-Signature", f"t={at:.0f},v1={made.hex()}")]


def an_order(number: object) -> bytes:
    """The body of an order."""
    return json.dumps({"order": {"id": number}}).encode()


def message_of(reply: Reply) -> str:
    """The sentence of a refusal."""
    error: Any = reply.json["error"]
    return str(error["message"])


def paths_of(reply: Reply) -> list[str]:
    """The places of the problems of a refusal."""
    error: Any = reply.json["error"]
    return [problem["path"] for problem in error["problems"]]


class Hooks:
    """Requests to a server, without HTTP."""

    def __init__(self, works: Works, secrets: Secrets) -> None:
        self.client, self.secrets = works.client, secrets

    def post(self, flow: str, body: bytes, headers: list[tuple[str, str]] | None = None) -> Reply:
        """Answer a request; without headers it is signed."""
        headers = signed(body) if headers is None else headers
        return handle(self.client, flow, headers, body, secrets=self.secrets, now=NOW)

    def started(self, flow: str, body: bytes, headers: list[tuple[str, str]] | None = None) -> str:
        """Start a run; its id."""
        reply = self.post(flow, body, headers)
        assert reply.status == 202, reply
        return str(reply.json["run"])

    def input_of(self, run: str) -> Any:
        """What a run was started with."""
        return self.client.run_snapshot(run)["run"]["input"]


@pytest.fixture
def hooked(works: Works, secrets: Secrets) -> Hooks:
    """A server of two flows with a webhook, one without, and one whose secret nobody has."""
    for text in (ORDER, PLAIN, CLOSED, NOBODYS):
        works.deploy(text)
    return Hooks(works, secrets)


def test_a_signed_request_starts_the_run_that_the_webhook_describes(hooked: Hooks) -> None:
    """Its key, its input and its version; a header in any case."""
    body = an_order(7)

    run = hooked.started("order", body, [*signed(body), ("X-Event", "paid")])

    assert hooked.client.find_run("order-7") == [run]
    assert hooked.input_of(run) == {"id": 7, "event": "paid"}


def test_a_request_that_comes_again_is_answered_with_its_run(hooked: Hooks) -> None:
    """By its key, by the id of its message, or else by its body, whatever the time says."""
    body = b'{"a": 1}'

    assert hooked.started("order", an_order(7)) == hooked.started("order", an_order(7))
    first = hooked.started("plain", body)
    assert hooked.started("plain", body) == first
    assert hooked.started("plain", body, timed(body, NOW - 60)) == first
    assert hooked.started("plain", b'{"a": 2}') != first
    assert len(hooked.client.list_runs(flow="plain")) == 2


def test_the_id_of_a_message_is_the_key_without_another(hooked: Hooks) -> None:
    """Two messages of the same words are two runs."""

    def message(name: str) -> list[tuple[str, str]]:
        content = f"{name}.{NOW:.0f}.".encode() + body
        made = hmac.digest(SECRET.encode(), content, "sha256")
        return [
            ("Webhook-Id", name),
            ("Webhook-Timestamp", f"{NOW:.0f}"),
            ("Webhook-Signature", f"v1,{base64.b64encode(made).decode()}"),
        ]

    body = b"[]"

    one, two = (hooked.started("plain", body, message(name)) for name in ("msg_1", "msg_2"))

    assert one != two
    assert hooked.started("plain", body, message("msg_1")) == one
    assert hooked.client.find_run("webhook:msg_2") == [two]


def test_doubles_at_once_start_one_run(hooked: Hooks, works: Works) -> None:
    """Senders repeat what they have no answer to."""
    body, replies = an_order(9), []

    def send() -> None:
        with Client(as_program(works.database, "start")) as client:
            headers = signed(body)
            reply = handle(client, "order", headers, body, secrets=hooked.secrets, now=NOW)
            replies.append(reply)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {reply.status for reply in replies} == {202}
    assert len({reply.json["run"] for reply in replies}) == 1
    assert len(hooked.client.list_runs(flow="order")) == 1


def test_a_key_with_another_input_is_a_conflict(hooked: Hooks) -> None:
    """Nothing is lost in silence: the sender is told which run has the key."""
    body = an_order(7)
    run = hooked.started("order", body)

    reply = hooked.post("order", body, [*signed(body), ("X-Event", "refunded")])

    assert reply.status == 409
    assert run in message_of(reply)


def test_strangers_learn_nothing(hooked: Hooks) -> None:
    """One answer, whether there is a flow, a webhook, a secret, or JSON in the body."""
    body = an_order(7)
    wrong = signed(body, "another secret")
    asked = [
        hooked.post("order", body, []),
        hooked.post("order", body, wrong),
        hooked.post("order", body + b" ", signed(body)),
        hooked.post("order", b"no json", wrong),
        hooked.post("order", body, timed(body, NOW - 301)),
        hooked.post("order", body, timed(body, NOW + 301)),
        hooked.post("order", body, [*signed(body), *signed(body)]),
        *(
            hooked.post(flow, body)
            for flow in ("closed", "nobodys", "unknown", "", "a\0b", "Order")
        ),
        *(hooked.post(flow, body, wrong) for flow in ("order/", "x" * 5000, "../order", "ordér")),
    ]

    assert {id(reply) for reply in asked} == {id(REFUSED)}
    assert hooked.client.list_runs() == []


def test_a_secret_that_the_server_does_not_have_is_logged_once(
    hooked: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator learns it, and a stranger cannot fill the log."""
    hooks._warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="pgflow_yaml.web"):
        for _ in range(3):
            hooked.post("nobodys", b"{}")
            hooked.post("unknown", b"{}")

    (record,) = caplog.records
    assert "nobodys" in record.message
    assert "NOT_HERE" in record.message


def test_the_secret_is_read_at_each_request(hooked: Hooks, tmp_path: Path) -> None:
    """It can be changed while the server runs, and an empty one opens nothing."""
    body = b"{}"
    (tmp_path / "SHOP_HOOK").write_text("new")

    assert hooked.post("plain", body) is REFUSED
    assert hooked.post("plain", body, signed(body, "new")).status == 202
    (tmp_path / "SHOP_HOOK").write_text("")
    assert hooked.post("plain", body, signed(body, "")) is REFUSED
    assert hooked.post("plain", body, signed(body, "new")) is REFUSED


def test_a_body_that_is_no_json_is_told_after_a_good_signature(hooked: Hooks) -> None:
    """With the reason; without a signature nobody reads it."""
    for body in (b"", b"{", b"\xff", b'{"a": 1, "a": 2}', b"NaN", b"[" * 200_000):
        reply = hooked.post("plain", body)

        assert reply.status == 400
        assert message_of(reply).startswith("the body is not JSON")
        assert hooked.post("plain", body, []) is REFUSED


def test_an_input_that_the_flow_refuses_is_told(hooked: Hooks) -> None:
    """With the problems, as a start from the command line has them."""
    for body in (an_order(None), an_order("x"), b'{"order": 5}'):
        reply = hooked.post("order", body)

        assert (reply.status, paths_of(reply)) == (422, ["id"])
    assert hooked.client.list_runs() == []


def test_a_key_or_input_without_a_value_is_told(works: Works, secrets: Secrets) -> None:
    """An expression that fails for this request starts nothing."""
    works.deploy(
        "{flow: strict, input: {n: {}}, webhook: {secret: SHOP_HOOK, key: body.id,"
        " input: {n: '${{ body.n + 1 }}'}}, steps: {a: {wait: {event: go}}}}"
    )
    hooked = Hooks(works, secrets)

    for body, path in (
        (b'{"id": null}', "webhook.key"),
        (b'{"id": [1]}', "webhook.key"),
        (b"{}", "webhook.key"),
        (b"5", "webhook.key"),
        (b'{"id": 1, "n": "x"}', "webhook.input"),
        (b'{"id": "", "n": 1}', "key"),
        (b'{"id": "schedule:x", "n": 1}', "key"),
        (b'{"id": "%s", "n": 1}' % (b"k" * 1001), "key"),
    ):
        reply = hooked.post("strict", body)
        assert (reply.status, paths_of(reply)) == (422, [path]), body
    assert works.client.list_runs() == []


def test_a_large_body_is_refused_before_anything_is_asked(secrets: Secrets) -> None:
    """Neither a signature is reckoned nor the database asked: there is none here."""
    with Client("host=127.0.0.1 port=1", patience=0) as client:
        body = b"x" * (LARGEST + 1)
        reply = handle(client, "order", signed(body), body, secrets=secrets, now=NOW)
        assert reply.status == 413


def test_without_the_database_a_sender_is_told_to_come_back(secrets: Secrets) -> None:
    """Whoever asks: a signature cannot be checked either."""
    with Client("host=127.0.0.1 port=1", patience=0) as client:
        for headers in (signed(b"{}"), []):
            reply = handle(client, "order", headers, b"{}", secrets=secrets, now=NOW)
            assert reply.status == 503
            assert int(reply.headers["retry-after"]) > 0
            assert "127.0.0.1" not in str(reply.json)


def test_a_setting_that_is_wrong_is_no_outage(
    hooked: Hooks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A sender that came again would be refused again; the log has the reason."""
    monkeypatch.setattr(Client, "start_run", Mock(side_effect=WrongSetting("the queue is gone")))

    reply = hooked.post("plain", b"{}")

    assert (reply.status, dict(reply.headers)) == (422, {})
    assert "queue" not in message_of(reply)
    assert "the queue is gone" in caplog.text


def test_secrets_of_the_sender_and_of_the_server_are_nowhere(
    hooked: Hooks, works: Works, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in answers, nor in logs, nor in inputs that hold all headers."""
    works.deploy(
        "{flow: nosy, input_schema: {}, webhook: {secret: SHOP_HOOK, input: '${{ headers }}'},"
        " steps: {a: {wait: {event: go}}}}"
    )
    canaries = {"Authorization": "Basic c4na1", "Cookie": "s=c4na2", "X-Other": "seen"}
    replies = []

    with caplog.at_level(logging.DEBUG):
        run = hooked.started("nosy", b"{}", [*signed(b"{}"), *canaries.items()])
        for flow, body in (("nosy", b"{"), ("order", b"{}"), ("unknown", b"{}")):
            replies.append(hooked.post(flow, body, [*signed(body), *canaries.items()]))

    given = hooked.input_of(run)
    assert given["x-other"] == "seen"
    assert set(given) == {"x-other"}
    shown = f"{replies} {caplog.text}"
    assert not [word for word in ("c4na1", "c4na2", SECRET) if word in shown]
