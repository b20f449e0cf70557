"""Passwords as scrypt keeps them, and a limit for those who guess."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from pgflow_yaml.web.access.sessions import Denied
from pgflow_yaml.web.access.signing import same

if TYPE_CHECKING:
    from collections.abc import Callable

_N, _R, _P, _BYTES = 16_384, 8, 1, 32
MOST_WRONG, MINUTE = 5, 60.0
_MOST_NAMES = 1_000
_LONGEST_WAIT = 5.0
LONGEST_PASSWORD = 1_000


def hashed(password: str) -> str:
    """Return the hash of a password, as in the users file: `scrypt$N$R$P$SALT$KEY`."""
    salt = secrets.token_bytes(16)
    parts = (_N, _R, _P, _text(salt), _text(_key(password, salt)))
    return "$".join(["scrypt", *map(str, parts)])


def is_hash(text: str) -> bool:
    """Return true for a text that `hashed` may have made."""
    try:
        _parts(text)
    except ValueError:
        return False
    return True


def matches(password: str, text: str) -> bool:
    """Return true if a password is the one of a hash."""
    salt, key = _parts(text)
    return same(_text(_key(password, salt)), _text(key))


def _parts(text: str) -> tuple[bytes, bytes]:
    kind, *numbers, salt, key = text.split("$")
    if kind != "scrypt" or [int(number) for number in numbers] != [_N, _R, _P]:
        raise ValueError(text)
    return b64decode(salt, validate=True), b64decode(key, validate=True)


def _key(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, dklen=_BYTES)


def _text(value: bytes) -> str:
    return b64encode(value).decode()


# An unknown name costs as much time as a known one.
_NOBODY = "$".join(["scrypt", str(_N), str(_R), str(_P), _text(bytes(16)), _text(bytes(_BYTES))])


class Gate:
    """Checks passwords, one at a time; five wrong ones in a minute close a name for the rest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the time from `clock`."""
        self._clock = clock
        self._wrong: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def check(self, name: str, password: str, right: str | None) -> None:
        """Raise Denied unless `password` is the one of the hash `right`; None: no such user."""
        if not self._lock.acquire(timeout=_LONGEST_WAIT):
            raise Denied("many people log in at this moment: try again", 429)
        try:
            since = self._clock() - MINUTE
            wrong = [at for at in self._wrong.get(name, ()) if at > since]
            if len(wrong) >= MOST_WRONG:
                raise Denied("five wrong passwords within a minute: wait a minute", 429)
            good = len(password) <= LONGEST_PASSWORD and matches(password, right or _NOBODY)
            if good and right is not None:
                self._wrong.pop(name, None)
                return
            if len(self._wrong) >= _MOST_NAMES:
                kept = ((key, times) for key, times in self._wrong.items() if times[-1] > since)
                self._wrong = dict(kept)
            if len(self._wrong) >= _MOST_NAMES and name not in self._wrong:
                raise Denied("many names are tried at this moment: wait a minute", 429)
            self._wrong[name] = [*wrong, self._clock()]
        finally:
            self._lock.release()
        raise Denied("the name or the password is wrong")
