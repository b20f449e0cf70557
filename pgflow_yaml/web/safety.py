"""The rules before every page: deny by default.

A request passes, in this order: its Host is one of ours; its path is exactly that of a row; the row
is for anyone, or the request has a user whose role suffices; a POST comes from a page of ours
(Sec-Fetch-Site, Origin, and the token of the session in the form). Every answer has the same
headers, refusals included.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Match, Route

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.web.access.sessions import SignIn
from pgflow_yaml.web.access.signing import same
from pgflow_yaml.web.answers import redirect, refusal
from pgflow_yaml.web.failures import sentence
from pgflow_yaml.web.state import VISIT, Visit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from pgflow_yaml.web.access import User
    from pgflow_yaml.web.state import State
    from pgflow_yaml.web.table import Row

MOST_BYTES = 1 << 20
MOST_FIELDS = 1_000
_BODY_SECONDS = 20.0
_FORM = "application/x-www-form-urlencoded"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class Refused(Exception):
    """A rule refuses the request."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        self.sentence = sentence
        super().__init__(sentence)


class Safety:
    """The application: the rules, and the rows behind them."""

    def __init__(self, state: State, rows: Iterable[Row]) -> None:
        """Answer with these rows only."""
        self._state = state
        self._routes = [(row, Route(row.path, row.app, methods=[row.method])) for row in rows]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            raise RuntimeError(f"no answer for {scope['type']}")
        answer: ASGIApp
        row, found = self._match(scope)
        try:
            answer = await self._judge(scope, receive, row, found=found)
        except Refused as refused:
            answer = self._refusal(scope, row, refused.status, refused.sentence)
        except PgflowError as error:  # of the way in: a users file with a mistake
            answer = self._refusal(scope, row, 503, sentence(error))
        await answer(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, row: Row | None, status: int, why: str) -> ASGIApp:
        kind = row.kind if row else _kind_of(scope)
        return refusal(self._state, scope, status, why, kind=kind)

    def _match(self, scope: Scope) -> tuple[Row | None, bool]:
        """Return the row of a path and method, and whether the path has any row."""
        if not scope["path"].isprintable():
            return None, False  # "$" of a pattern also matches before a line end
        found = False
        for row, route in self._routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                scope.update(child)
                return row, True
            found = found or match is Match.PARTIAL
        return None, found

    async def _judge(
        self, scope: Scope, receive: Receive, row: Row | None, *, found: bool
    ) -> ASGIApp:
        """Return what answers; raises Refused."""
        headers = Headers(scope=scope)
        _check_host(headers, self._state.hosts)
        if b"%00" in scope.get("query_string", b""):
            raise Refused(400, "the address holds a NUL, which no text of a database may")
        if row is not None and row.kind == "hook":
            return row.app
        form: dict[str, str] = {}
        if row is not None and row.method == "POST":
            _check_origin(headers)
            form = await _read_form(headers, receive)
            # What somebody typed is given back, also to one whose session has ended meanwhile.
            scope[VISIT] = Visit(user=None, token="", form=form)
        user = None
        if row is None or row.who != "anyone":
            user = await run_in_threadpool(self._state.authorize, scope)
            if user is None:
                return self._ask_who(scope, row)
        if row is None:
            if found:
                raise Refused(405, "this address takes no such request")
            raise Refused(404, "there is no such page")
        if row.who != "anyone" and (user is None or not user.may(row.who)):
            raise Refused(403, f"your role only looks: an {row.who} may do this")
        token = "" if user is None else form_token(self._state, scope, user)
        # The login form has a field of this name that is its own.
        given = form.pop("token", "") if user is not None else ""
        scope[VISIT] = Visit(user=user, token=token, form=form)
        if row.method == "POST" and user is not None and not same(given, token):
            raise Refused(403, "this form is of an earlier session: nothing was done")
        return row.app

    def _ask_who(self, scope: Scope, row: Row | None) -> ASGIApp:
        """Return the way to the login page, or the refusal of one who has no way in."""
        kind = row.kind if row else _kind_of(scope)
        method = scope["method"] in ("GET", "HEAD")
        if isinstance(self._state.authorize, SignIn) and kind == "page" and method:
            root = scope.get("root_path", "")
            path = quote(scope["path"].removeprefix(root))
            query = scope.get("query_string", b"").decode("latin-1")
            wanted = path + (f"?{query}" if query else "")
            return redirect(f"{root}/login?next={quote(wanted, safe='/')}")
        raise Refused(401, "who are you? log in first")


def form_token(state: State, scope: Scope, user: User) -> str:
    """Return the token that the forms of a session hold; of the user where there is no session."""
    session = state.authorize.session(scope) if isinstance(state.authorize, SignIn) else None
    owner = f"session {session.id}" if session else f"user {user.name}"
    return state.signer.mac("form", owner)


def _check_host(headers: Headers, hosts: frozenset[str]) -> None:
    """Refuse a foreign name, which a page of somebody else may have bound to this address."""
    names = headers.getlist("host")
    if len(names) != 1 or host_name(names[0]) not in hosts:
        raise Refused(403, "this server is not known under that name (--allow-host adds one)")


def host_name(text: str) -> str:
    """Return the name in a Host header, without its port."""
    text = text.lower()
    name, colon, port = text.rpartition(":")
    return name if colon and port.isdecimal() and port.isascii() else text


def _check_origin(headers: Headers) -> None:
    """Refuse a POST that a page of another site has sent."""
    sites, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
    if sites not in ([], ["same-origin"]):
        raise Refused(403, "this request comes from a page of another site")
    if not origins:
        return
    origin = urlsplit(origins[0])
    ours = origin.scheme in ("http", "https") and origin.netloc.lower() == headers["host"].lower()
    if len(origins) != 1 or not ours:
        raise Refused(403, "this request comes from a page of another site")


async def _read_form(headers: Headers, receive: Receive) -> dict[str, str]:
    """Return the fields of a form: of several with one name the last, as a browser's override."""
    kind = headers.get("content-type", _FORM).partition(";")[0].strip().lower()
    if kind != _FORM:
        raise Refused(415, f"a form is sent as {_FORM}")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await _read_body(receive)
    except TimeoutError:
        raise Refused(408, "the form did not arrive in time") from None
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refused(400, "the form cannot be read") from None
    if any("\0" in text for pair in pairs for text in pair):
        raise Refused(400, "the form holds a NUL, which no text of a database may")
    return dict(pairs)


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the form did not arrive")
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise Refused(413, "the form is larger than 1 MB")
        if not message.get("more_body", False):
            return bytes(body)


def _kind_of(scope: Scope) -> str:
    """Return what an address without a row looks like: programs get no page."""
    path = scope["path"]
    if path.endswith(".json"):
        return "json"
    return "part" if "/parts/" in path else "page"


def _with_headers(send: Send) -> Send:
    """Return a `send` that adds the headers to an answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
