"""Webhooks over HTTP: who may knock, how much is read, and what the rest of the server notices."""

from __future__ import annotations

import hmac
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from starlette.testclient import TestClient

from pgflow_yaml.web import create_app, receiving
from pgflow_yaml.web.hooks import LARGEST, Reply
from pgflow_yaml.worker.calls import Secrets
from tests.fixtures.roles import as_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fixtures.working import Works

SECRET = "of the shop"
BODY = b'{"id": 7}'
FLOW = (
    "{flow: order, input_schema: {}, webhook: {secret: SHOP_HOOK}, steps: {a: {wait: {event: go}}}}"
)


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    """The secrets of the server."""
    (tmp_path / "SHOP_HOOK").write_text(SECRET)
    return Secrets(tmp_path)


@pytest.fixture
def serve(works: Works) -> Iterator[Callable[..., TestClient]]:
    """Servers to which nobody can log in."""
    works.deploy(FLOW)
    opened = []

    def start(**settings: Any) -> TestClient:
        app = create_app(as_program(works.database, "ui"), authorize=lambda _: None, **settings)
        opened.append(app)
        return TestClient(app, base_url="http://127.0.0.1", follow_redirects=False)

    yield start
    for app in opened:
        app.close()


def signed(body: bytes = BODY) -> dict[str, str]:
    """The header of Stripe's form, made now."""
    at = f"{time.time():.0f}"
    made = hmac.digest(SECRET.encode(), f"{at}.".encode() + body, "sha256")
    return {"stripe-signature": f"t={at},v1={made.hex()}"}


def test_a_program_without_a_session_starts_a_run(
    serve: Callable[..., TestClient], secrets: Secrets, works: Works
) -> None:
    """Its signature is enough, wherever it says that it comes from."""
    client = serve(hooks=secrets)
    headers = {**signed(), "origin": "https://shop.example", "sec-fetch-site": "cross-site"}

    reply = client.post("/hooks/order", content=BODY, headers=headers)

    assert reply.status_code == 202
    assert works.client.get(reply.json()["run"]).flow == "order"
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    assert client.post("/hooks/order", content=BODY, headers=headers).json() == reply.json()
    assert len(works.client.list_runs()) == 1


def test_no_other_path_or_verb_starts_one(
    serve: Callable[..., TestClient], secrets: Secrets, works: Works
) -> None:
    """Only POST, and only the exact path."""
    client = serve(hooks=secrets)
    paths = ("order/", "/order", "", "order%0a", "order/x", "..%2fhooks%2forder")

    for path in (*(f"/hooks/{path}" for path in paths), "/Hooks/order", "/hooks"):
        reply = client.post(path, content=BODY, headers=signed())
        assert reply.status_code in (401, 403, 404), path
    for verb in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        reply = client.request(verb, "/hooks/order", content=BODY, headers=signed())
        assert reply.status_code in (401, 404, 405), verb
    assert works.client.list_runs() == []


def test_a_server_has_no_webhooks_unless_it_is_told(
    serve: Callable[..., TestClient], secrets: Secrets, works: Works
) -> None:
    """Nor one that only reads, nor under a foreign name."""
    for client in (serve(), serve(hooks=secrets, read_only=True)):
        assert client.post("/hooks/order", content=BODY, headers=signed()).status_code != 202
    foreign = {**signed(), "host": "shop.example"}
    assert (
        serve(hooks=secrets).post("/hooks/order", content=BODY, headers=foreign).status_code == 403
    )
    assert works.client.list_runs() == []


def test_strangers_get_the_same_bytes(serve: Callable[..., TestClient], secrets: Secrets) -> None:
    """Headers included, except for nothing: status, body and headers are equal."""
    client = serve(hooks=secrets)

    replies = [
        client.post(path, content=BODY, headers=headers)
        for path in ("/hooks/order", "/hooks/unknown")
        for headers in ({}, {"stripe-signature": "t=1,v1=00"}, {"x-hub-signature-256": "sha256=0"})
    ]

    assert {reply.status_code for reply in replies} == {401}
    assert {reply.content for reply in replies} == {b'{"error": {"message": "refused"}}\n'}
    assert len({tuple(sorted(reply.headers.items())) for reply in replies}) == 1


async def status_of(app: Any, receive: Any, **headers: str) -> int:
    """Send a request piece by piece; the status of its answer."""
    statuses = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    named = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/hooks/order",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), *named],
    }
    await app(scope, receive, send)
    return int(statuses[0])


def test_a_large_body_is_not_read_to_its_end(
    serve: Callable[..., TestClient], secrets: Secrets
) -> None:
    """Whether it says its length before, or comes in pieces without end."""
    app = serve(hooks=secrets).app
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 100_000
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    async def tell() -> int:
        return await status_of(app, receive, content_length=str(LARGEST + 1))

    async def pour() -> int:
        return await status_of(app, receive)

    assert (anyio.run(tell), sent) == (413, 0)
    assert anyio.run(pour) == 413
    assert sent <= LARGEST + 100_000


def test_bodies_that_do_not_arrive_keep_out_nobody(
    serve: Callable[..., TestClient], secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many the oldest is given up; a whole request has its place beside them."""
    monkeypatch.setattr(receiving, "MOST_UNREAD", 2)
    monkeypatch.setattr(receiving, "MOST_WAITING", 1)
    app = serve(hooks=secrets).app
    given_up: list[int] = []

    async def hang() -> None:
        given_up.append(await status_of(app, anyio.sleep_forever))

    async def arrive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY}

    async def play() -> int:
        headers = {name.replace("-", "_"): text for name, text in signed().items()}
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(hang)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(20):
                found = await status_of(app, arrive, **headers)
            group.cancel_scope.cancel()
        return found

    assert anyio.run(play) == 202
    assert given_up == [408, 408, 408, 408]


def test_a_body_that_does_not_arrive_is_given_up(
    serve: Callable[..., TestClient], secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if nobody else asks."""
    monkeypatch.setattr(receiving, "_BODY_SECONDS", 0.05)
    app = serve(hooks=secrets).app

    async def hang() -> int:
        return await status_of(app, anyio.sleep_forever)

    assert anyio.run(hang) == 408


def test_too_many_that_wait_are_told_to_come_back(
    serve: Callable[..., TestClient], secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While others ask the database, whose answer is late."""
    monkeypatch.setattr(receiving, "MOST_WAITING", 2)
    goes_on = threading.Event()
    reply = Reply(status=202, json={})

    def handled(*_: object) -> Reply:
        goes_on.wait(20)
        return reply

    monkeypatch.setattr(receiving.Receiver, "_handled", handled)
    app = serve(hooks=secrets).app
    statuses: list[int] = []

    async def arrive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY}

    async def call() -> None:
        statuses.append(await status_of(app, arrive))
        if len(statuses) == 2:
            goes_on.set()

    async def call_often() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(call)

    anyio.run(call_often)

    assert statuses == [503, 503, 202, 202]
