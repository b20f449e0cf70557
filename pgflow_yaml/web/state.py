"""State of one server of the pages: its settings, its connections, its watcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgflow_yaml.web.bulk import Jobs
from pgflow_yaml.web.live.watcher import Watcher
from pgflow_yaml.web.sent import Sent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.web.access import Authorize, User
    from pgflow_yaml.web.access.signing import Signer
    from pgflow_yaml.web.clients import Clients
    from pgflow_yaml.worker.calls import Secrets


@dataclass(slots=True, kw_only=True)
class State:
    """One server; every row of the table answers with it."""

    clients: Clients
    signer: Signer
    authorize: Authorize
    hosts: frozenset[str]
    read_only: bool
    secure: bool
    """Cookies go over TLS only."""
    nav: Mapping[str, str]
    """The words of the navigation, by path."""
    hooks: Secrets | None = None
    """The secrets of webhooks; None: the server has none."""
    link_key: bytes | None = field(default=None, repr=False)
    """Signs links to approvals, as that of the workers; None: the server takes no links."""
    jobs: Jobs = field(init=False)
    watcher: Watcher = field(init=False)
    sent: Sent = field(init=False, default_factory=Sent)

    def __post_init__(self) -> None:
        """Make the watcher; it begins with the first stream."""
        self.jobs = Jobs(self.clients)
        self.watcher = Watcher(self.clients, self.jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Result of the safety rules for a request; rows find it in the scope."""

    user: User | None
    token: str
    form: Mapping[str, str]


VISIT = "pgflow_yaml.visit"
"""The key of the visit in the scope."""
