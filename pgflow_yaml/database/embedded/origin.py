"""The proof that this user made a server's folder on this machine: a record outside of it.

Whoever writes the files of a server decides what it runs. A folder that came with a clone, an
archive or a copy is therefore refused: its id has no record, or the record names another folder.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ID_FILE = "server.id"
_ID = re.compile(r"[0-9a-f]{32}")
# What a server and its users make or open in its folder; `init` and schemas make other files.
_ENTRIES = ("data", "data.new", "server.log", "keeper.lock", "users.lock", "start.lock", "tests")


def state_folder() -> Path | None:
    """Return our folder below XDG_STATE_HOME or ~/.local/state; None if it cannot be ours.

    HOME may be missing, unwritable, or that of another user, as after `sudo`.
    """
    home, state = (os.environ.get(name, "") for name in ("HOME", "XDG_STATE_HOME"))
    base = state if os.path.isabs(state) else f"{home}/.local/state"  # noqa: PTH117 (may be "")
    owned = Path(state if os.path.isabs(state) else home)  # noqa: PTH117
    while not owned.exists() and owned != owned.parent:
        owned = owned.parent
    try:
        if not os.path.isabs(base) or owned.stat().st_uid != os.geteuid():  # noqa: PTH117
            return None
        folder = Path(base, "pgflow-yaml", "servers")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
    except OSError:
        return None
    return folder if info.st_uid == os.geteuid() and not info.st_mode & 0o022 else None


def prove(home: Path, folders: Sequence[Path]) -> None:
    """Refuse a server's folder without a record in one of these folders; record a new one.

    The caller holds a lock. A record is written before the id that needs it: a crash in between
    leaves nothing but a record without a folder.
    """
    place = _place(home)
    known = _id_of(home)
    records = {} if known is None else {file: _text(file) for file in _files(folders, known)}
    if any(_matches(text, place) for text in records.values()):
        identity = str(known)
    elif any(os.path.lexists(home / entry) for entry in _ENTRIES):
        raise Unavailable(
            f"{home} holds a database server that you did not make on this machine, and a server "
            f"runs what its files say: remove it (rm -rf {home}), or give --dsn"
        )
    else:
        identity = token_hex(16)
    for file in _files(folders, identity):
        if records.get(file) != place:
            file.write_text(place, encoding="utf-8")
    if identity != known:
        _write_id(home / ID_FILE, identity)


def forget(home: Path, folders: Sequence[Path]) -> None:
    """Delete the records of a server's folder."""
    if (identity := _id_of(home)) is not None:
        for file in _files(folders, identity):
            file.unlink(missing_ok=True)


def refuse_strange_files(home: Path, uid: int) -> None:
    """Refuse files that a server of user `uid` has not made itself: links, and open ones.

    A checkout may add files to a folder that it ignores otherwise.
    """
    links = [home / entry for entry in _ENTRIES if (home / entry).is_symlink()]
    for path in [*links, *_strange(home / "data", uid)]:
        raise Unavailable(
            f"{path} was not made by the database server of this folder: remove it, or all of "
            f"{home} with its runs, or give --dsn"
        )


def _strange(folder: Path, uid: int) -> Iterator[Path]:
    """Yield what is a link, belongs to another user, or is open to others; a server has no such."""
    for entry in os.scandir(folder):
        try:
            info = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # an orphaned server still works here
            continue
        is_folder = stat.S_ISDIR(info.st_mode)
        if info.st_uid != uid or info.st_mode & 0o077 or not (is_folder or _is_file(info.st_mode)):
            yield Path(entry.path)
        elif is_folder:
            yield from _strange(Path(entry.path), uid)


def _is_file(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _files(folders: Sequence[Path], identity: str) -> list[Path]:
    return [folder / identity for folder in folders]


def _place(home: Path) -> str:
    """Return the number and the path of a folder: a move keeps one of them, a copy neither."""
    return f"{home.stat().st_ino}\n{home}\n"


def _matches(record: str | None, place: str) -> bool:
    return bool(record) and bool(set(str(record).splitlines()) & set(place.splitlines()))


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _id_of(home: Path) -> str | None:
    try:
        descriptor = os.open(home / ID_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(64).decode(errors="replace").strip()
    return text if _ID.fullmatch(text) else None


def _write_id(file: Path, identity: str) -> None:
    file.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(file, flags, 0o600), "w", encoding="utf-8") as new:
        new.write(f"{identity}\n")
