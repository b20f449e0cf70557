"""The way in for a team: a file of users, `name:role:scrypt$…` a line."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.web.access import ROLES, User
from pgflow_yaml.web.access.passwords import Gate, is_hash
from pgflow_yaml.web.access.sessions import Denied, SignIn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pgflow_yaml.web.access.signing import Signer

_Stamp: TypeAlias = tuple[int, int, int] | None
log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


@dataclass(frozen=True, slots=True)
class _Line:
    user: User
    hash: str

    @property
    def proof(self) -> str:
        return sha256(self.hash.encode()).hexdigest()[:16]


class UsersFile(SignIn):
    """Admits the users of a file by their passwords; a change of it counts at once."""

    asks_for: ClassVar[Literal["link", "password"]] = "password"

    def __init__(
        self,
        signer: Signer,
        file: Path,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Read the file; raises WrongSetting if it has a mistake."""
        super().__init__(signer, clock=clock)
        self._file = file
        self._gate = Gate()
        self._known: tuple[_Stamp, Mapping[str, _Line] | None] = (_stamp(file), read_users(file))

    def account(self, name: str) -> tuple[User, str] | None:
        """Return a user of the file."""
        line = self._current().get(name)
        return None if line is None else (line.user, line.proof)

    def check(self, form: Mapping[str, str]) -> str:
        """Admit a name with its password."""
        name = form.get("name", "").strip()
        if not NAME.fullmatch(name):
            raise Denied("the name or the password is wrong")
        line = self._current().get(name)
        self._gate.check(name, form.get("password", ""), line.hash if line else None)
        return name

    def _current(self) -> Mapping[str, _Line]:
        known = self._known
        if (stamp := _stamp(self._file)) != known[0]:
            # Other threads see the users of before or of now, and nothing between.
            known = self._known = (stamp, _users_or_none(self._file))
        if known[1] is None:
            # A file with a mistake admits nobody: the person whose line was taken out least of all.
            # Strangers read this sentence: they learn no path.
            raise WrongSetting("the file of users has a mistake; the log of the server says which")
        return known[1]


def _users_or_none(file: Path) -> Mapping[str, _Line] | None:
    try:
        return read_users(file)
    except WrongSetting as mistake:
        log.error("nobody is let in: %s", mistake)  # noqa: TRY400 (a sentence says all)
        return None


def read_users(file: Path) -> dict[str, _Line]:
    """Return the users of a file by name; raises WrongSetting with the number of a wrong line."""
    try:
        texts = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise WrongSetting(f"--users {file} cannot be read: {reason}") from None
    lines: dict[str, _Line] = {}
    for number, text in enumerate(texts, 1):
        if text.strip() and not text.startswith("#"):
            line = _read_line(text.strip(), f"{file}:{number}")
            if line.user.name in lines:
                raise WrongSetting(f'{file}:{number}: the user "{line.user.name}" is there twice')
            lines[line.user.name] = line
    if not lines:
        raise WrongSetting(
            f"{file} has no users; write NAME:ROLE:HASH lines, with hashes of pgflow-yaml ui --hash"
        )
    return lines


def _read_line(text: str, where: str) -> _Line:
    name, _, rest = text.partition(":")
    roles, _, password = rest.partition(":")
    role, *groups = roles.split(",")
    if not NAME.fullmatch(name) or text.count(":") < 2:
        raise WrongSetting(f"{where}: write NAME:ROLE:HASH; pgflow-yaml ui --hash makes the hash")
    if role not in ROLES:
        raise WrongSetting(f'{where}: the role of "{name}" is viewer or operator')
    if not is_hash(password):
        raise WrongSetting(
            f'{where}: the password of "{name}" is no hash; pgflow-yaml ui --hash makes one'
        )
    return _Line(User(name=name, role=role, groups=tuple(groups)), password)


def _stamp(file: Path) -> _Stamp:
    try:
        facts = file.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
