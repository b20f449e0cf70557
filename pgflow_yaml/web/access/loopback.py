"""The way in for one person on this machine: a link that works once."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, ClassVar, Literal

from pgflow_yaml.web.access import User
from pgflow_yaml.web.access.sessions import Denied, SignIn
from pgflow_yaml.web.access.signing import same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.web.access.signing import Signer

SECONDS = 600
_BETWEEN_LINKS = 10.0


class Loopback(SignIn):
    """Admits whoever has the link that the terminal shows; it works once, for ten minutes."""

    asks_for: ClassVar[Literal["link", "password"]] = "link"

    def __init__(
        self,
        signer: Signer,
        name: str,
        announce: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`announce` shows a token to the person whose `name` actions carry."""
        super().__init__(signer, clock=clock)
        self._user = User(name=name, role="operator")
        self._announce = announce
        self._lock = threading.Lock()
        self._token = ""
        self._made = -_BETWEEN_LINKS

    def open(self) -> None:
        """Make a token and announce it."""
        with self._lock:
            self._token, self._made = secrets.token_urlsafe(16), self._clock()
            self._announce(self._token)

    def account(self, name: str) -> tuple[User, str] | None:
        """Return the one user."""
        return (self._user, "") if name == self._user.name else None

    def check(self, form: Mapping[str, str]) -> str:
        """Admit the token once."""
        with self._lock:
            fresh = self._clock() - self._made < SECONDS
            if self._token and fresh and same(form.get("token", ""), self._token):
                self._token = ""
                return self._user.name
        raise Denied(
            "this link was used, or is older than 10 minutes: the terminal in which "
            "pgflow-yaml ui runs shows a new one"
        )

    def shown(self) -> None:
        """Announce a new token if the last one is used up: a session may have ended."""
        age = self._clock() - self._made
        if (not self._token and age > _BETWEEN_LINKS) or age >= SECONDS:
            self.open()
