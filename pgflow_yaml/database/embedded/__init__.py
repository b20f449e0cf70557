"""The PostgreSQL of a project that names none: `server` starts and joins it, `files` knows its
folders, `keeper` is the program that stops it after its last user.
"""

from __future__ import annotations

from pgflow_yaml.database.embedded.server import LocalServer, discard, open_server

__all__ = ["LocalServer", "discard", "open_server"]
