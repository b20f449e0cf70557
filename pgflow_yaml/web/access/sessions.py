"""Sessions in a signed cookie, and the base of the ways in with a login page."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.web.access import Scope, User
    from pgflow_yaml.web.access.signing import Signer

SECONDS = 12 * 3600
_PURPOSE = "session"
_MOST_ENDED = 10_000


class Denied(Exception):
    """A login was refused; `status` is that of the answer."""

    def __init__(self, sentence: str, status: int = 403) -> None:
        """Store the sentence for the page."""
        self.sentence = sentence
        self.status = status
        super().__init__(sentence)


def cookie_name(signer: Signer) -> str:
    """Return the name of the cookie: browsers send cookies to all ports of a host.

    With one name, a login at one server would end the session at another one.
    """
    return f"pgflow_ui_{signer.mac('cookie', '')[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as its cookie tells it; `proof` ends it when the password changes."""

    id: str
    name: str
    proof: str
    expires: float


class SignIn:
    """A way in with a login page: an `authorize` that reads the cookie of a session."""

    asks_for: ClassVar[Literal["link", "password"]]

    def __init__(self, signer: Signer, *, clock: Callable[[], float] = time.time) -> None:
        """`signer` signs the cookies."""
        self._signer = signer
        self.cookie = cookie_name(signer)
        self._clock = clock
        self._ended: dict[str, float] = {}

    def __call__(self, scope: Scope) -> User | None:
        """Return the user of a request's session."""
        session = self.session(scope)
        account = None if session is None else self.account(session.name)
        if session is None or account is None or account[1] != session.proof:
            return None
        return account[0]

    def account(self, name: str) -> tuple[User, str] | None:
        """Return the user of a name, and what a session of it must hold as its proof."""
        raise NotImplementedError

    def check(self, form: Mapping[str, str]) -> str:
        """Return the name of the person who filled in the form; raises Denied."""
        raise NotImplementedError

    def shown(self) -> None:
        """Note that somebody looks at the login page."""

    def session(self, scope: Scope) -> Session | None:
        """Return the session of a request; None without a valid one."""
        text = self._signer.read(_PURPOSE, HTTPConnection(scope).cookies.get(self.cookie, ""))
        if text is None:
            return None
        identity, name, proof, expires = json.loads(text)
        if expires <= self._clock() or identity in self._ended:
            return None
        return Session(id=identity, name=name, proof=proof, expires=expires)

    def begin(self, name: str) -> str:
        """Return the cookie of a new session."""
        account = self.account(name)
        proof = account[1] if account else ""
        values = [secrets.token_urlsafe(16), name, proof, int(self._clock()) + SECONDS]
        return self._signer.sign(_PURPOSE, json.dumps(values))

    def end(self, session: Session) -> None:
        """End a session: a copy of its cookie is worth nothing until this server restarts."""
        now = self._clock()
        self._ended = {key: until for key, until in self._ended.items() if until > now}
        if len(self._ended) >= _MOST_ENDED:
            self._ended.pop(next(iter(self._ended)))  # it is the next to expire, or nearly so
        self._ended[session.id] = session.expires
