"""The configuration of the embedded server: files of our own, never those beside its data.

They lie in a folder that only this user can write, and are written anew at each start.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pgflow_yaml.database.embedded.files import ServerPaths

EMBEDDED_NAME = "pgflow-yaml-embedded"
"""The setting `cluster_name` of embedded servers: SQL recognizes them by it."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    "cluster_name": EMBEDDED_NAME,
    # The engine promises that acknowledged data survives a power cut, here too.
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# What the programs of PostgreSQL and Python may need to start. The rest may be secret.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# This user of the machine may connect as any role, to try what a role may do; nobody else may.
_ACCESS = "local all all peer map=pgflow\n"


def environment() -> dict[str, str]:
    """Return the environment of the server and of its keeper."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, "LC_ALL": "C", "TZ": "UTC"}


def start_command(program: Path, paths: ServerPaths, settings: Mapping[str, str]) -> list[str]:
    """Write the configuration of a server and return the command that starts it."""
    user = _user_name()
    texts = {
        "config_file": "# all settings are on the command line\n",
        "hba_file": _ACCESS,
        "ident_file": f'pgflow "{user}" all\n',
    }
    mode = 0o600 if paths.drop_to is None else 0o644  # the server's user reads root's files
    for name, text in texts.items():
        _write(paths.away / f"{name}.conf", text, mode)
    # The one file of settings that the server would read beside its data.
    (paths.data / "postgresql.auto.conf").unlink(missing_ok=True)
    files = {name: str(paths.away / f"{name}.conf") for name in texts}
    options = [part for pair in {**files, **settings}.items() for part in ("-c", "=".join(pair))]
    return [str(program), "-D", f"{paths.data}", "-k", f"{paths.socket}", *options]


def _write(file: Path, text: str, mode: int) -> None:
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as new:
        os.fchmod(descriptor, mode)
        new.write(text)


def _user_name() -> str:
    """Return the name of this user, by which the server recognizes its clients."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise Unavailable(
            f"the embedded database cannot run as user {os.geteuid()}, who has no name in "
            "/etc/passwd: give this user one, or give --dsn"
        ) from error
    return name.replace('"', '""')
