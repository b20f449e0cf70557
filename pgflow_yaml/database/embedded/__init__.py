"""The embedded PostgreSQL of a project: `server` starts and joins it, `files` holds its folders,
`keeper` is the program that stops it after its last user.
"""

from __future__ import annotations

from pgflow_yaml.database.embedded.server import LocalServer, discard, open_server, running

__all__ = ["LocalServer", "discard", "open_server", "running"]
