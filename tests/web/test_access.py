"""The rules before every page, asked of every row of the table as every kind of user."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pgflow_yaml.runs.approval_links import Approval, sign
from pgflow_yaml.web.safety import HEADERS
from tests.web.conftest import COOKIE, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.web.table import Row
    from tests.fixtures.working import Works
    from tests.web.conftest import Site

PLACES = {
    "step": "go_live",
    "index": "0",
    "flow": "release",
    "queue": "main",
    "job": "no-job",
    "token": "no-token",
}
USERS = (None, "vera", "otto")
MAY = {None: {"anyone"}, "vera": {"anyone", "viewer"}, "otto": {"anyone", "viewer", "operator"}}


def ask(site: Site, row: Row, name: str | None, run: str) -> Any:
    """The answer to a request for a row by a user with a fresh session."""
    asking = site.browser(name)
    path = row.path.format_map(PLACES | {"run": run})
    if row.method == "POST":
        form = {"name": "otto", "password": PASSWORD} if path == "/login" else {"back": "/"}
        return site.post(asking, path, **form) if name else asking.post(path, data=form)
    return asking.get(path)


def outcome(reply: Any) -> str:
    """What the rules decided."""
    if reply.status_code == 303 and reply.headers["location"].startswith("/login?"):
        return "log in"
    return {401: "who", 403: "no"}.get(reply.status_code, "in")


@pytest.mark.parametrize("read_only", [False, True])
def test_every_row_decides_for_every_user(
    works: Works, run: str, make_site: Callable[..., Site], *, read_only: bool
) -> None:
    """Nobody is asked who he is, a role that does not suffice is refused, the others come in."""
    site = make_site(works.client, read_only=read_only, link_key=bytes(32))
    expected, found = {}, {}
    for row in site.app.table:
        for name in USERS:
            key = (row.method, row.path, name)
            page = row.kind == "page" and row.method == "GET"
            stranger = "log in" if page else "who"
            expected[key] = "in" if row.who in MAY[name] else "no" if name else stranger
            found[key] = outcome(ask(site, row, name, run))

    assert found == expected
    assert any(row.writes for row in site.app.table) is not read_only
    assert len({(row.method, row.path) for row in site.app.table}) == len(site.app.table)


def test_a_server_that_only_reads_has_no_action(
    works: Works, run: str, make_site: Callable[..., Site]
) -> None:
    """Not even for an operator, and no button leads to one; its sessions cannot write."""
    site = make_site(works.client, read_only=True)
    otto = site.browser("otto")

    assert site.post(otto, f"/runs/{run}/cancel").status_code == 404
    assert "/cancel" not in otto.get(f"/runs/{run}").text
    with site.app.state.clients.writing() as client, pytest.raises(Exception, match="read-only"):
        client.cancel(run)


@pytest.mark.parametrize(
    "path",
    [
        *("/RUNS.JSON", "/Login", "/login/", "/login/x", "/login;x", "/login%0a", "/login%00"),
        *("/static/ui.css/", "/static/ui.css%0a", "/static/../runs.json", "/static/x/..%2fui.css"),
        *("//login", "/./login", "/static%2fui.css%3f", "/nowhere", "/healthz.json", "/login.json"),
    ],
)
def test_only_exact_paths_are_for_anyone(site: Site, path: str) -> None:
    """A suffix, another case or an encoded character leads nobody past the login."""
    reply = site.browser().get(path)

    if path not in ("/static%2fui.css%3f", "//login", "/./login"):  # httpx may tidy these itself
        assert outcome(reply) in ("log in", "who"), reply.text


def test_other_verbs_are_refused(site: Site, run: str) -> None:
    """A page cannot be written; nobody learns which pages there are."""
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert site.browser().request(method, "/").status_code == 401
        assert site.browser("otto").request(method, "/").status_code == 405
    assert site.post(site.browser("otto"), f"/runs/{run}").status_code == 405
    assert site.browser("vera").head("/").status_code == 200


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1", True),
        ("localhost:8420", True),
        ("[::1]:8420", True),
        ("Flows.Example.com", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost:8420@evil.example", False),
        ("evil.example:127.0.0.1", False),
        ("", False),
    ],
)
def test_a_foreign_host_is_refused(
    works: Works, make_site: Callable[..., Site], host: str, *, good: bool
) -> None:
    """A name that somebody bound to this address gets nothing, not even the style sheet."""
    site = make_site(works.client, allow_hosts=["flows.example.com"])

    for path in ("/", "/login", "/static/ui.css", "/healthz"):
        reply = site.browser("otto").get(path, headers={"host": host})
        assert reply.status_code == (200 if good else 403)


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({}, True),
        ({"origin": "http://127.0.0.1"}, True),
        ({"origin": "https://127.0.0.1", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "null"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://127.0.0.1.evil.example"}, False),
        ({"origin": "http://127.0.0.1:1"}, False),
        ({"origin": ""}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "none"}, False),
    ],
)
def test_a_form_comes_from_a_page_of_ours(
    works: Works, site: Site, run: str, headers: dict[str, str], *, good: bool
) -> None:
    """Another site can send one with the cookie; it is refused, the login form as well."""
    reply = site.post(site.browser("otto"), f"/runs/{run}/cancel", headers=headers)
    login = site.browser().post("/login", data={"name": "x"}, headers=headers)

    assert reply.status_code == (303 if good else 403)
    assert (works.client.get(run).status == "cancelled") is good
    assert ("wrong" in login.text) is good


def test_a_form_holds_the_token_of_its_session(works: Works, site: Site, run: str) -> None:
    """None, a wrong one, or that of another session of the same user does nothing."""
    otto, other = site.browser("otto"), site.browser("otto")
    path = f"/runs/{run}/cancel"
    for token in ("", "x", "ä", site.token(other)):
        assert otto.post(path, data={"token": token}).status_code == 403
    assert otto.post(path, data={}).status_code == 403
    assert otto.post(path, json={"token": site.token(otto)}).status_code == 415
    assert otto.post(path, data={"token": site.token(otto), "x": "\0"}).status_code == 400
    assert works.client.get(run).status == "started"

    assert otto.post(path, data={"token": site.token(otto)}).status_code == 303


def hidden(page: str) -> dict[str, str]:
    """The fields of a page that nobody sees."""
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
    return {name: unescape(text) for name, text in fields}


def test_what_was_typed_outlives_a_session(works: Works, site: Site, run: str) -> None:
    """The refusal has it, and sends it once more; one whose role only looks has nothing to send."""
    otto, path = site.browser(), f"/runs/{run}/cancel?x=1&y=2"
    typed = {"reason": '<b>it\'s "wrong"\nby far'}
    refused = otto.post(path, data={"token": "of a session that has ended", **typed})
    assert refused.status_code == 401
    assert 'href="/login" target="_blank"' in refused.text
    otto.cookies.set(COOKIE, site.way.begin("otto"))
    stale = otto.post(path, data=hidden(refused.text))
    assert stale.status_code == 403
    assert "<b>it" not in refused.text + stale.text
    assert f'action="/runs/{run}/cancel?x=1&amp;y=2"' in stale.text
    assert works.client.get(run).status == "started"
    assert "Try again" not in site.post(site.browser("vera"), path, **typed).text

    assert {**hidden(stale.text), "token": ""} == {"token": "", **typed}
    assert otto.post(path, data=hidden(stale.text)).status_code == 303


def test_what_was_typed_outlives_an_outage(make_site: Callable[..., Site]) -> None:
    """The form of an action, and that of a link, which has no token."""
    site = make_site("host=/nowhere", link_key=bytes(32))
    otto, path = site.browser("otto"), f"/runs/{uuid4()}/send"
    soon = datetime.now(UTC) + timedelta(hours=1)
    approval = Approval(run=str(uuid4()), step="a", retries=0, expires=soon)

    reply = site.post(otto, path, event="paid", data="[1]")
    by_link = site.browser().post(f"/a/{sign(approval, bytes(32))}", data={"comment": "no"})

    assert (reply.status_code, by_link.status_code) == (503, 503)
    assert (
        hidden(reply.text).items()
        >= {"token": site.token(otto), "event": "paid", "data": "[1]"}.items()
    )
    assert hidden(by_link.text) == {"token": "", "comment": "no"}


def test_a_large_form_is_refused(site: Site, run: str) -> None:
    """1 MB, a thousand fields, and what is no text."""
    otto = site.browser("otto")
    path = f"/runs/{run}/cancel"

    assert site.post(otto, path, reason="x" * (1 << 20)).status_code == 413
    assert site.post(otto, path, **{f"f{n}": "" for n in range(1_001)}).status_code == 400
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert otto.post(path, content=b"\xff\xfe", headers=kind).status_code == 400


def test_every_answer_has_the_headers(site: Site, run: str) -> None:
    """Pages, files, redirects and refusals alike; nothing is stored but files, asked for again."""
    vera = site.browser("vera")
    replies = [
        *(vera.get(path) for path in ("/", f"/runs/{run}", "/runs.json", "/nowhere", "/events")),
        *(site.browser().get(path) for path in ("/", "/login", "/healthz", "/runs.json")),
        vera.get("/", headers={"host": "evil.example"}),
        vera.post("/theme"),
    ]
    for reply in replies:
        for name, value in HEADERS.items():
            assert reply.headers[name] == value
        assert reply.headers["cache-control"] == "no-store"
    style = vera.get("/static/ui.css")
    assert style.headers["cache-control"] == "no-cache"
    known = vera.get("/static/ui.css", headers={"if-none-match": style.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert known.headers["content-security-policy"].startswith("default-src 'none'")


def test_no_page_needs_what_the_policy_forbids(site: Site, run: str) -> None:
    """No inline script or style, nothing from another host."""
    for path in ("/", f"/runs/{run}", f"/runs/{run}/cancel", "/login", "/nowhere"):
        text = site.browser("otto").get(path).text
        assert "style=" not in text
        assert "<style" not in text
        assert "onclick" not in text
        assert "//" not in text.replace("http://www.w3.org/", "")
