"""The key that signs links to approvals: workers and the web view share it."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.project.database import project_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

VARIABLE = "PGFLOW_YAML_LINK_KEY"
FILE = Path(".pgflow") / "ui.key"
_LEAST_BYTES = 16


def link_key(folder: Path, environ: Mapping[str, str]) -> bytes:
    """Return the key from PGFLOW_YAML_LINK_KEY, else from .pgflow/ui.key of the project.

    The file is made when there is none, for its owner alone, and the log says so: workers on other
    machines need the variable, with the same value everywhere. Raises WrongSetting.
    """
    given = environ.get(VARIABLE)
    if given is not None:
        return _checked(given, VARIABLE)
    file = project_dir(folder) / FILE
    _make(file)
    try:
        return _checked(file.read_text("ascii"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise WrongSetting(f"{file} cannot be read: {error}") from error


def make_key(file: Path) -> bool:
    """Write a new key for its owner alone; return False if there is one. Raises OSError.

    It is written under another name first, so that nobody reads half of it. A folder that is made
    for it is hidden from git.
    """
    if file.exists():
        return False
    if not file.parent.exists():
        file.parent.mkdir(exist_ok=True)
        (file.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    new = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
            written.write(secrets.token_hex(32) + "\n")
        os.link(new, file)
    except FileExistsError:  # by another process, just now
        return False
    finally:
        new.unlink(missing_ok=True)
    return True


def _make(file: Path) -> None:
    try:
        made = make_key(file)
    except OSError as error:
        raise WrongSetting(
            f"{file} cannot be written: {error.strerror}; set {VARIABLE} instead"
        ) from error
    if made:
        log.warning(
            "%s was made: it signs links to approvals; if the web view or other workers run "
            "elsewhere, set %s for all of them",
            file,
            VARIABLE,
            extra={"action": "link_key"},
        )


def _checked(text: str, source: str) -> bytes:
    key = text.strip().encode()
    if len(key) < _LEAST_BYTES:
        raise WrongSetting(f"{source}: a key has at least {_LEAST_BYTES} characters")
    return key
