"""The pages as an ASGI application, of its own or mounted in another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.web.access.signing import Signer
from pgflow_yaml.web.clients import Clients
from pgflow_yaml.web.routes import PAGES, rows
from pgflow_yaml.web.safety import LOCAL_HOSTS, Safety, host_name
from pgflow_yaml.web.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Receive, Scope, Send

    from pgflow_yaml.client import Client
    from pgflow_yaml.web.access import Authorize
    from pgflow_yaml.web.table import Row
    from pgflow_yaml.worker.calls import Secrets


class WebView:
    """The ASGI application; `table` has all of its routes."""

    def __init__(self, state: State) -> None:
        """Answer for one database."""
        self.state = state
        self.table: tuple[Row, ...] = tuple(rows(state))
        self._safety = Safety(state, self.table)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or begin and end with the server."""
        if scope["type"] != "lifespan":
            await self._safety(scope, receive, send)
            return
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def close(self) -> None:
        """Disconnect from the database."""
        self.state.clients.close()


def create_app(  # noqa: PLR0913 (all that a view may be told)
    database: Client | str,
    *,
    authorize: Authorize,
    read_only: bool = False,
    allow_hosts: Iterable[str] = (),
    key: bytes | None = None,
    secure: bool = True,
    hooks: Secrets | None = None,
    link_key: bytes | None = None,
    reading: str | None = None,
) -> WebView:
    """Return the pages about the runs of a database, to serve or to mount.

    `authorize` gets the ASGI scope of a request and returns its User, or None: then the answer is
    401. It has no default, so that nobody mounts the pages open by accident. `allow_hosts` are the
    names of the server beside those of this machine; a request for another name is refused.
    `read_only` leaves out all actions; pages read from the database `reading`, if it is given,
    such as a standby. `key` signs the tokens of forms: several processes that
    serve the same pages need the same 32 bytes. `secure`: cookies go over TLS only.
    With `hooks`, the secrets of webhooks, signed requests to `/hooks/FLOW` start runs.
    With `link_key`, whoever has a link that `ctx.approval_url` made with the same key decides its
    step.
    """
    hosts = frozenset([*LOCAL_HOSTS, *(host_name(name.strip()) for name in allow_hosts)])
    state = State(
        clients=Clients(database, read_only=read_only, reading=reading),
        signer=Signer(key),
        authorize=authorize,
        hosts=hosts,
        read_only=read_only,
        secure=secure,
        hooks=hooks,
        link_key=link_key,
        nav={page.path: page.nav for page in PAGES if page.nav},
    )
    return WebView(state)
