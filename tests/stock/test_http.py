"""The handler `http` against a real server: what it sends, accepts, retries and refuses."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.errors import PermanentError, PgflowError, RetryLater

if TYPE_CHECKING:
    from tests.stock.conftest import Peer, Stock

TOKEN = "tok-4711-very-secret"


def refused(stock: Stock, **with_: Any) -> PgflowError:
    with pytest.raises(PgflowError) as failed:
        stock.call("http", **with_)
    assert TOKEN not in failed.value.message
    return failed.value


def test_a_request_and_its_reply(stock: Stock, peer: Peer) -> None:
    """The body is JSON both ways, names of headers are small, cookies stay away."""
    peer.answer(201, {"id": 7}, location="/orders/7", Set_Cookie="session=1")

    reply = stock.call(
        "http",
        url=f"http://{peer.address}/orders?a=1#part",
        json={"customer": "ädä"},
        headers={"Authorization": f"Bearer {TOKEN}", "X-Number": 3},
    )

    assert (reply["status"], reply["body"]) == (201, {"id": 7})
    assert reply["headers"]["location"] == "/orders/7"
    assert "set-cookie" not in reply["headers"]
    (request,) = peer.requests
    assert (request["method"], request["path"]) == ("POST", "/orders?a=1")
    assert json.loads(request["body"]) == {"customer": "ädä"}
    headers = request["headers"]
    assert (headers["authorization"], headers["x-number"]) == (f"Bearer {TOKEN}", "3")
    assert (headers["content-type"], headers["host"]) == ("application/json", peer.address)


@pytest.mark.parametrize(
    ("path", "query", "asked"),
    [
        ("/a", {"q": "a&b=c d/ä#?"}, "/a?q=a%26b%3Dc+d%2F%C3%A4%23%3F"),
        ("/a?x=1#part", {"n": 2, "l": ["a", "b"]}, "/a?x=1&n=2&l=a&l=b"),
        ("/a", {}, "/a"),
        ("", {"q": 1}, "/?q=1"),
    ],
)
def test_a_query_is_quoted(
    stock: Stock, peer: Peer, path: str, query: dict[str, Any], asked: str
) -> None:
    """No value can change another part of the URL."""
    stock.call("http", url=f"http://{peer.address}{path}", query=query)

    assert peer.requests[0]["path"] == asked


@pytest.mark.parametrize(
    ("with_", "method", "body"),
    [
        ({}, "GET", ""),
        ({"body": "hello"}, "POST", "hello"),
        ({"json": False}, "POST", "false"),
        ({"method": "PUT", "json": [1]}, "PUT", "[1]"),
        ({"method": "DELETE"}, "DELETE", ""),
        ({"method": "HEAD"}, "HEAD", ""),
    ],
)
def test_the_method_follows_from_the_body(
    stock: Stock, peer: Peer, with_: dict[str, Any], method: str, body: str
) -> None:
    """Without a method, a body is posted."""
    stock.call("http", url=f"http://{peer.address}", **with_)

    assert peer.requests[0]["method"] == method
    assert peer.requests[0]["body"] == body


@pytest.mark.parametrize(
    ("kind", "content", "body"),
    [
        ("text/plain; charset=latin-1", b"\xe4", "ä"),
        ("application/problem+json", b'{"a": 1}', {"a": 1}),
        ("", "ä".encode(), "ä"),
        ("image/png", b"", None),
    ],
)
def test_bodies_are_json_or_text(
    stock: Stock, peer: Peer, kind: str, content: bytes, body: Any
) -> None:
    """The content type decides."""
    peer.answer(200, content, content_type=kind)

    assert stock.call("http", url=f"http://{peer.address}")["body"] == body


@pytest.mark.parametrize(
    ("kind", "content"),
    [("application/json", b"{"), ("image/png", b"\x89PNG"), ("text/x; charset=nonsense", b"a")],
)
def test_other_bodies_are_refused(stock: Stock, peer: Peer, kind: str, content: bytes) -> None:
    """With their type."""
    peer.answer(200, content, content_type=kind)

    error = refused(stock, url=f"http://{peer.address}")

    assert isinstance(error, PermanentError)
    assert "the body of the answer is not" in error.message


def test_a_reply_has_a_limit(stock: Stock, peer: Peer) -> None:
    """A megabyte; also where the server does not say how much it sends."""
    peer.answer(200, b"x" * (1024 * 1024))
    assert len(stock.call("http", url=f"http://{peer.address}")["body"]) == 1024 * 1024

    peer.answer(200, b"x" * (1024 * 1024 + 1))
    error = refused(stock, url=f"http://{peer.address}")
    assert isinstance(error, PermanentError)
    assert "larger than 1 MB" in error.message


@pytest.mark.parametrize(
    ("status", "permanent"), [(400, True), (404, True), (500, False), (503, False), (429, False)]
)
def test_other_statuses_fail(stock: Stock, peer: Peer, status: int, *, permanent: bool) -> None:
    """A wrong request is not sent again; the message has the beginning of the answer, no path."""
    peer.answer(status, {"detail": "no such order"})

    error = refused(stock, url=f"http://{peer.address}/hooks/{TOKEN}?key={TOKEN}")

    assert isinstance(error, PermanentError) == permanent
    assert not isinstance(error, RetryLater)
    assert error.message == (
        f'GET http://{peer.address}: the answer has status {status}: {{"detail": "no such order"}}'
    )
    assert stock.call("http", url=f"http://{peer.address}", expect=[200, status])["status"] == (
        status
    )


def test_expected_statuses_replace_2xx(stock: Stock, peer: Peer) -> None:
    """A 200 that is not expected fails."""
    assert isinstance(refused(stock, url=f"http://{peer.address}", expect=404), PermanentError)


@pytest.mark.parametrize(
    ("wanted", "least", "most"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 86400, 86400),
        ("99999999999", 86400, 86400),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_understood(
    stock: Stock, peer: Peer, status: int, wanted: str, least: float, most: float
) -> None:
    """Seconds or a date, at most a day."""
    peer.answer(status, retry_after=wanted)

    error = refused(stock, url=f"http://{peer.address}")

    assert isinstance(error, RetryLater)
    assert least <= error.delay <= most


@pytest.mark.parametrize("wanted", ["soon", "-1", "", "1e3", "²"])
def test_another_retry_after_is_ignored(stock: Stock, peer: Peer, wanted: str) -> None:
    """The step's own delays count."""
    peer.answer(503, retry_after=wanted.encode().decode("latin-1"))

    assert not isinstance(refused(stock, url=f"http://{peer.address}"), RetryLater)


def test_redirects_within_the_host_are_followed(stock: Stock, peer: Peer) -> None:
    """With the same headers; only for requests that change nothing."""
    moved = (302, {"location": "../b?x=1"}, b"")
    peer.replies = [moved, (200, {}, b"there")]

    reply = stock.call("http", url=f"http://{peer.address}/a/c", headers={"x-token": TOKEN})

    assert reply["body"] == "there"
    assert [request["path"] for request in peer.requests] == ["/a/c", "/b?x=1"]
    assert peer.requests[1]["headers"]["x-token"] == TOKEN
    peer.replies = [moved]
    assert "status 302" in refused(stock, url=f"http://{peer.address}/", json={}).message
    assert "redirects" in refused(stock, url=f"http://{peer.address}/").message
    assert stock.call("http", url=f"http://{peer.address}/", expect=302)["status"] == 302


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/",
        "//localhost:{port}/",
        "http://127.0.0.1:1/",
        "http://127.0.0.1:{port}@localhost/",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "gopher://127.0.0.1:{port}/",
        "http://[::1]:{port}/",
        "http://127.1:{port}/",
    ],
)
def test_redirects_elsewhere_are_refused(stock: Stock, peer: Peer, location: str) -> None:
    """The headers of a request are for its host alone."""
    port = str(peer.server_address[1])
    peer.answer(302, location=location.replace("{port}", port))

    error = refused(stock, url=f"http://{peer.address}/", headers={"x-token": TOKEN})

    assert isinstance(error, PermanentError)
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1",
        "file:///etc/passwd",
        "ftp://example.org/",
        "http://",
        "http:///x",
        "http://user:pa55word@example.org/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org/a b",
        "http://example.org/a\r\nX-Evil: 1",
        "http://example.org\\@127.0.0.1/",
        "http://exämple.org/",
        "http://[::1",
        " http://example.org/",
        "",
        None,
        ["http://example.org"],
    ],
)
def test_other_urls_are_refused(stock: Stock, url: Any) -> None:
    """Before anything is looked up, and without the URL in the message."""
    error = refused(stock, url=url)

    assert isinstance(error, PermanentError)
    assert "url" in error.message
    assert "pa55word" not in error.message


@pytest.mark.parametrize(
    "with_",
    [
        {"headers": {"x": f"{TOKEN}\r\nx-evil: 1"}},
        {"headers": {"x y": TOKEN}},
        {"headers": {"Host": "elsewhere"}},
        {"headers": {"x": [TOKEN]}},
        {"headers": {"x": f"ä{TOKEN}"}},
        {"headers": TOKEN},
        {"query": TOKEN},
        {"query": {"a": {"b": TOKEN}}},
        {"query": {"a": None}},
        {"method": "TRACE"},
        {"method": "get"},
        {"json": 1, "body": "x"},
        {"body": {"a": TOKEN}},
        {"expect": "2xx"},
        {"expect": [99]},
    ],
)
def test_wrong_arguments_are_refused(stock: Stock, peer: Peer, with_: dict[str, Any]) -> None:
    """Nothing is sent, and no message shows a value."""
    assert isinstance(refused(stock, url=f"http://{peer.address}", **with_), PermanentError)
    assert peer.requests == []


def test_a_server_that_trickles_does_not_outlast_the_step(stock: Stock) -> None:
    """The time is for the whole request, not for each byte."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def trickle() -> None:
        peer, _ = listening.accept()
        with peer:
            peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not stop.wait(0.05):
                peer.sendall(b"x")

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    stock.seconds = 0.5
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGFLOW_YAML_HTTP_ALLOW", "127.0.0.0/8")
        error = refused(stock, url=f"http://127.0.0.1:{listening.getsockname()[1]}/")
    assert time.monotonic() - began < 5
    assert "no answer in time" in error.message
    assert not isinstance(error, PermanentError)
    stop.set()
    thread.join(5)
    listening.close()


@pytest.mark.parametrize(
    "reply", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_what_is_no_http_may_be_tried_again(
    stock: Stock, reply: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken server, or none, is a failure of this attempt."""
    monkeypatch.setenv("PGFLOW_YAML_HTTP_ALLOW", "127.0.0.1")
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]

    def speak() -> None:
        peer, _ = listening.accept()
        peer.recv(65536)
        peer.sendall(reply)
        peer.close()
        listening.close()

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    for _ in range(2):  # the second time nobody listens
        error = refused(stock, url=f"http://127.0.0.1:{port}/{TOKEN}", headers={"x": TOKEN})
        assert not isinstance(error, PermanentError)
        thread.join(5)


def test_certificates_are_checked(
    stock: Stock, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the URL counts, not the address that it leads to."""
    file = str(Path(__file__).with_name("localhost.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    peer.socket = context.wrap_socket(peer.socket, server_side=True)
    port = peer.server_address[1]
    peer.answer(200, {"a": 1})

    assert "certificate" in refused(stock, url=f"https://localhost:{port}/").message
    monkeypatch.setenv("SSL_CERT_FILE", file)
    assert stock.call("http", url=f"https://localhost:{port}/")["body"] == {"a": 1}
    assert "certificate" in refused(stock, url=f"https://127.0.0.1:{port}/").message
