"""Log in and out, and the choices of the theme and of the zone of times."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.responses import HTMLResponse, Response

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.web.access.sessions import SECONDS, Denied
from pgflow_yaml.web.answers import (
    THEME,
    THEMES,
    ZONE,
    Application,
    redirect,
    set_cookie,
    theme_of,
)
from pgflow_yaml.web.failures import sentence
from pgflow_yaml.web.rendering import environment, zone_named
from pgflow_yaml.web.state import VISIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from pgflow_yaml.web.access.sessions import SignIn
    from pgflow_yaml.web.state import State, Visit

log = logging.getLogger(__name__)

MOST_CHECKS = 8
"""Logins that are checked at once; others are told to try again."""
Answer: TypeAlias = "Callable[[Scope], Response]"
_YEAR = 365 * 24 * 3600


def apps(state: State, way: SignIn) -> tuple[Application, Application, Application]:
    """Return the answers of the login page, of its form, and of the button that logs out."""

    def ask(scope: Scope) -> Response:
        way.shown()
        query = QueryParams(scope.get("query_string", b""))
        return _login_page(scope, way, local_path(query.get("next", "/")))

    def check(scope: Scope) -> Response:
        visit: Visit = scope[VISIT]
        wanted = local_path(visit.form.get("next", "/"))
        try:
            session = way.begin(way.check(visit.form))
        except PgflowError as error:
            log.warning("nobody can log in: %s", sentence(error))
            return _login_page(scope, way, wanted, sentence(error), status=503)
        except Denied as denied:
            log.warning("login refused: %s", denied.sentence)
            return _login_page(scope, way, wanted, denied.sentence, status=denied.status)
        root = scope.get("root_path", "")
        reply = redirect(root + wanted)
        set_cookie(reply, state, way.cookie, session, root=root, seconds=SECONDS)
        return reply

    def busy(scope: Scope) -> Response:
        wanted = local_path(scope[VISIT].form.get("next", "/"))
        why = "many people log in at this moment: try again"
        return _login_page(scope, way, wanted, why, status=429)

    def leave(scope: Scope) -> Response:
        if session := way.session(scope):
            way.end(session)
        root = scope.get("root_path", "")
        reply = redirect(f"{root}/login")
        reply.delete_cookie(way.cookie, path=root or "/")
        return reply

    return _threaded(ask), _few_at_once(check, busy), _threaded(leave)


def theme_app(state: State) -> Application:
    """Return the answer of the button that chooses the theme."""
    return _choice(state, "theme", THEME, lambda name: name in THEMES)


def zone_app(state: State) -> Application:
    """Return the answer of the button that chooses the zone of times."""
    return _choice(state, "zone", ZONE, lambda name: zone_named(name) is not None)


def _choice(state: State, field: str, cookie: str, knows: Callable[[str], bool]) -> Application:
    """Return the answer of a button whose choice is kept in a cookie."""

    def choose(scope: Scope) -> Response:
        visit: Visit = scope[VISIT]
        root = scope.get("root_path", "")
        chosen = visit.form.get(field, "")
        reply = redirect(root + local_path(visit.form.get("back", "/")))
        if knows(chosen):
            set_cookie(reply, state, cookie, chosen, root=root, seconds=_YEAR)
        else:
            reply.delete_cookie(cookie, path=root or "/")
        return reply

    return _threaded(choose)


def local_path(text: str) -> str:
    """Return a path of ours; what would lead to another host becomes the first page."""
    local = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isprintable()
    return text if local else "/"


def _login_page(
    scope: Scope, way: SignIn, wanted: str, error: str = "", *, status: int = 200
) -> Response:
    html = environment.get_template("login.html").render(
        asks_for=way.asks_for,
        wanted=wanted,
        error=error,
        root=scope.get("root_path", ""),
        theme=theme_of(scope),
    )
    return HTMLResponse(html, status)


def _few_at_once(check: Answer, busy: Answer) -> Application:
    """Return the answer of a check that takes time: pages need the threads of the server, too."""
    places = asyncio.Semaphore(MOST_CHECKS)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if places.locked():
            await busy(scope)(scope, receive, send)
            return
        async with places:
            reply = await run_in_threadpool(check, scope)
        await reply(scope, receive, send)

    return Application(app)


def _threaded(answer: Answer) -> Application:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reply = await run_in_threadpool(answer, scope)
        await reply(scope, receive, send)

    return Application(app)
