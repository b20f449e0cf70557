"""One of several databases: its clients, opened when they are needed."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING

from pgflow_yaml.client.client import Client
from pgflow_yaml.database import migrate
from pgflow_yaml.database.store import Attempts
from pgflow_yaml.project.database import has_database, named_database
from pgflow_yaml.project.databases import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgflow_yaml.project.databases import Databases

_PATIENCE = 0.8  # less than the second of a look-up, so that it ends with the reason


class Member:
    """Clients of one database: one that acts, and one that is asked beside other databases."""

    def __init__(
        self, address: Callable[[], str], *, notify: bool = True, checked: bool = True
    ) -> None:
        """`address` returns the connection string; it is called once the database is used."""
        self._address, self._notify = address, notify
        self._is_checked = not checked
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._asked: Client | None = None

    def exists(self) -> bool:
        """Return False if the database would have to be made first."""
        return True

    def rouse(self) -> None:
        """Start the server, if it is ours."""

    def client(self) -> Client:
        """Return the client; the tables are compared before (R-13)."""
        with self._lock:
            if self._client is None:
                self._check(Attempts())
                self._client = Client(self._address(), notify=self._notify)
            return self._client

    def asked(self, *, checked: bool = True) -> Client:
        """Return a client that gives up after 0.8 s; `checked`: the tables are compared before."""
        with self._lock:
            if checked:
                self._check(Attempts(_PATIENCE))
            if self._asked is None:
                self._asked = Client(self._address(), patience=_PATIENCE)
            return self._asked

    def close(self) -> None:
        """Disconnect; what waits for a server that is away is cut."""
        for client in (self._asked, self._client):
            if client is not None:
                client.cut()
                client.close()

    def _check(self, attempts: Attempts) -> None:
        if not self._is_checked:
            migrate.check(self._address(), attempts)
            self._is_checked = True


class OwnMember(Member):
    """The project's own server: it is started and migrated when it is used."""

    def __init__(self, folder: Path, open_client: Callable[[], Client]) -> None:
        super().__init__(str)
        self._folder, self._open = folder, open_client

    def exists(self) -> bool:
        """Return False as long as the project has no server."""
        return self._client is not None or has_database(self._folder)

    def rouse(self) -> None:
        """Start the server."""
        self.client()

    def client(self) -> Client:
        """Return the client; it keeps the server running."""
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def asked(self, *, checked: bool = True) -> Client:  # noqa: ARG002 (it is migrated)
        """Return the client."""
        return self.client()


def project_members(
    folder: Path,
    databases: Databases,
    *,
    notify: bool,
    checked: bool,
    on_embedded: Callable[[], None],
) -> dict[str, Member]:
    """Return the databases of a project by name; the default one may be the project's own."""
    named = named_database()
    members: dict[str, Member]
    if named is None:
        own = partial(
            Client.for_project, folder, notify=notify, checked=checked, on_embedded=on_embedded
        )
        members = {DEFAULT: OwnMember(folder, own)}
    else:
        members = {DEFAULT: Member(partial(str, named), notify=notify, checked=checked)}
    for name in databases.values:
        address = partial(databases.conninfo, name, os.environ)
        members[name] = Member(address, notify=notify, checked=checked)
    return members
