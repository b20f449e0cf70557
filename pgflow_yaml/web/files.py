"""The few files that a browser needs beside the pages; anyone may have them."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response

from pgflow_yaml.web.answers import Application, unless_known

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

FILES = {
    "/static/ui.css": "ui.css",
    "/static/pages.css": "pages.css",
    "/static/pictures.css": "pictures.css",
    "/static/ui.js": "ui.js",
    "/static/run.js": "run.js",
    "/static/grid.js": "grid.js",
    "/static/icon.svg": "icon.svg",
}
_KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def app(name: str) -> Application:
    """Return the row's answer with a file, read once."""
    content = (files("pgflow_yaml.web") / "static" / name).read_bytes()
    headers = {"ETag": f'"{sha256(content).hexdigest()[:20]}"', "Cache-Control": "no-cache"}
    kind = _KINDS[name.rpartition(".")[2]]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        reply = Response(content, headers=headers, media_type=kind)
        await unless_known(scope, reply)(scope, receive, send)

    return Application(answer)


async def _answer_healthy(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("ok\n")(scope, receive, send)


healthy = Application(_answer_healthy)
"""Says that the server answers; it asks nobody, so that it tells nothing of the database."""
