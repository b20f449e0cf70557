"""The answers of rows: a page, a part, JSON, a form, an action; and refusals."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, Response

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.web.access.sessions import SignIn
from pgflow_yaml.web.asked import Asked, Moved
from pgflow_yaml.web.failures import sentence, status_of
from pgflow_yaml.web.live.watcher import digest
from pgflow_yaml.web.rendering import (
    environment,
    page_html,
    part_html,
    show_times_in,
    whole_page,
)
from pgflow_yaml.web.state import VISIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from pgflow_yaml.client import Client
    from pgflow_yaml.web.state import State, Visit
    from pgflow_yaml.web.table import Action, Done, Download, Kind, Page

log = logging.getLogger(__name__)

FLASH, THEME, ZONE = "pgflow_flash", "pgflow_theme", "pgflow_zone"
THEMES = ("light", "dark")
FLASH_SECONDS = 60
_IN_ADDRESSES = "/?&=%#+,:;@!~*'()[]"
BUG = "this is a bug in pgflow-yaml; the log of the server has its traceback: please report it"


def page(state: State, shown: Page) -> ASGIApp:
    """Return the row's answer with a whole page."""

    def answer(asked: Asked) -> Response:
        reply = HTMLResponse(whole_page(asked, shown))
        if asked.flash:
            reply.delete_cookie(FLASH, path=asked.root or "/")
        return reply

    return _app(state, "page", answer)


def part(state: State, shown: Page, name: str) -> ASGIApp:
    """Return the row's answer with one part; 304 if the browser has it."""

    def answer(asked: Asked) -> Response:
        html, status, tag = part_html(asked, shown, name)
        return HTMLResponse(html, status, {"ETag": f'"{tag}"'})

    return _app(state, "part", answer)


def json_of(state: State, shown: Page) -> ASGIApp:
    """Return the row's answer with the JSON of a page, and a header with the way to the next."""

    def answer(asked: Asked) -> Response:
        reply = _json(shown.json(asked))
        if path := shown.json_next(asked):
            address = quote(asked.url(path), safe=_IN_ADDRESSES)
            reply.headers["Link"] = f'<{address}>; rel="next"'
        return reply

    return _app(state, "json", answer)


def download(state: State, offered: Download) -> ASGIApp:
    """Return the row's answer with a whole value, as a file that a browser keeps."""

    def answer(asked: Asked) -> Response:
        value, name = offered.read(asked)
        reply = _json(value)
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
        reply.headers["Content-Disposition"] = f'attachment; filename="{safe}"'
        return reply

    return _app(state, "json", answer)


def form(state: State, action: Action) -> ASGIApp:
    """Return the row's answer with the form of an action."""
    return _app(state, "page", lambda asked: _form(action, asked), writes=action.asks_writing)


def act(state: State, action: Action) -> ASGIApp:
    """Return the row's answer to the form of an action: it acts, and leads to a page."""

    def answer(asked: Asked) -> Response:
        try:
            done = _done_once(state, action, asked)
        except PgflowError as error:
            log.info("refused %s of %s: %s", action.name, asked.user.name, sentence(error))
            refused = replace(asked, error=sentence(error))
            return _form(action, refused, status_of(error))
        if done is None:
            return _form(action, asked)
        reply = redirect(asked.url(done.to))
        said = state.signer.sign("flash", done.said)
        set_cookie(reply, state, FLASH, said, root=asked.root, seconds=FLASH_SECONDS)
        return reply

    return _app(state, "page", answer, writes=True)


def _done_once(state: State, action: Action, asked: Asked) -> Done | None:
    """Do what a form asks for; the same form again, by a double click, changes nothing more."""
    if "sent" not in asked.form:
        return action.do(asked)
    key = digest(json.dumps([asked.user.name, asked.here, dict(asked.form)], sort_keys=True))
    return state.sent.once(key, lambda: action.do(asked))


def _form(action: Action, asked: Asked, status: int = 200) -> Response:
    """Return the form of an action, again with what was typed if it was refused."""
    html = page_html(asked, f"actions/{action.name}.html", asked.once(action.ask))
    return HTMLResponse(html, status)


def _app(
    state: State, kind: Kind, answer: Callable[[Asked], Response], *, writes: bool = False
) -> ASGIApp:
    """Return an application that answers in a thread, with a client lent for the request."""

    def answered(scope: Scope) -> ASGIApp:
        try:
            with state.clients.writing() if writes else state.clients.reading() as client:
                return unless_known(scope, answer(_asked(state, scope, client)))
        except Moved as moved:
            return redirect(scope.get("root_path", "") + moved.to)
        except PgflowError as error:
            return refusal(state, scope, status_of(error), sentence(error), kind=kind)
        except Exception:
            log.exception("no answer for %s", scope["path"])
            return refusal(state, scope, 500, BUG, kind=kind)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reply = await run_in_threadpool(answered, scope)
        await reply(scope, receive, send)

    return Application(app)


class Application:
    """An ASGI application as a row holds it: the router takes functions for endpoints."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self._app(scope, receive, send)


def _asked(state: State, scope: Scope, client: Client) -> Asked:
    visit: Visit = scope[VISIT]
    assert visit.user is not None
    cookies = HTTPConnection(scope).cookies
    show_times_in(cookies.get(ZONE, ""))
    return Asked(
        client=client,
        user=visit.user,
        token=visit.token,
        path=scope["path"].removeprefix(scope.get("root_path", "")),
        root=scope.get("root_path", ""),
        params=scope["path_params"],
        query=QueryParams(scope.get("query_string", b"")),
        form=visit.form,
        nav=state.nav,
        signs_in=isinstance(state.authorize, SignIn),
        theme=theme_of(scope),
        flash=state.signer.read("flash", cookies.get(FLASH, "")) or "",
        read_only=state.read_only,
        jobs=state.jobs,
    )


def refusal(state: State, scope: Scope, status: int, text: str, *, kind: str) -> Response:
    """Return an answer that says why there is none: a page, a card, or JSON."""
    if kind in ("json", "hook"):
        return _json({"error": {"message": text}}, status)
    if kind != "page":
        template = environment.get_template("unread.html")
        return HTMLResponse(template.render(name="", why=text), status)
    visit: Visit | None = scope.get(VISIT)
    template = environment.get_template("error.html")
    html = template.render(
        status=status,
        why=text,
        typed=_typed(visit, status),
        token=visit.token if visit else "",
        here=quote(scope["path"]),
        query=scope.get("query_string", b"").decode("latin-1"),
        signs_in=status == 401 and isinstance(state.authorize, SignIn),
        root=scope.get("root_path", ""),
        theme=theme_of(scope),
        nav=state.nav if visit and visit.user else {},
    )
    return HTMLResponse(html, status)


def _typed(visit: Visit | None, status: int) -> Mapping[str, str]:
    """Return the fields of a refused form that may be good if it is sent once more.

    A role that only looks gets 403 before it is known as a user, and has nothing to send.
    """
    if visit is None or status not in (401, 403, 500, 503) or (status == 403 and not visit.user):
        return {}
    return {name: text for name, text in visit.form.items() if name != "token"}


def unless_known(scope: Scope, reply: Response) -> Response:
    """Return 304 in place of an answer that the browser has."""
    tag = reply.headers.get("ETag")
    if tag is None or HTTPConnection(scope).headers.get("If-None-Match") != tag:
        return reply
    return Response(status_code=304, headers={"ETag": tag})


def redirect(to: str) -> Response:
    """Return the way to another page, which is asked for by GET; a header holds ASCII only."""
    return Response(status_code=303, headers={"Location": quote(to, safe=_IN_ADDRESSES)})


def set_cookie(
    reply: Response, state: State, name: str, value: str, *, root: str, seconds: int
) -> None:
    """Set a cookie for our pages only, which scripts cannot read."""
    reply.set_cookie(
        name,
        value,
        max_age=seconds,
        path=root or "/",
        secure=state.secure,
        httponly=True,
        samesite="strict",
    )


def theme_of(scope: Scope) -> str:
    """Return the theme that the user has chosen; empty: that of the system."""
    theme = HTTPConnection(scope).cookies.get(THEME, "")
    return theme if theme in THEMES else ""


def _json(value: Any, status: int = 200) -> Response:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return Response(text + "\n", status, media_type="application/json")
