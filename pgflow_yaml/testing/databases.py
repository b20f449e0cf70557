"""Database server for tests: kept between test runs, with one migrated template database."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from importlib.resources import files as resources
from typing import TYPE_CHECKING
from uuid import uuid4

from pgflow_yaml.database import embedded, migrate
from pgflow_yaml.database.embedded import files
from pgflow_yaml.database.store import databases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgflow_yaml.database.embedded import LocalServer

# No data outlives a test, so durability is off.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


class Databases:
    """Factory of databases on the server for a project's tests."""

    def __init__(self, server: LocalServer, template: str) -> None:
        self._server, self._template = server, template

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """Yield the conninfo of a new, migrated database, which is then deleted."""
        name = f"test_{uuid4().hex[:12]}"
        admin = self._server.conninfo("postgres")
        databases.copy_database(admin, self._template, name)
        try:
            yield self._server.conninfo(name)
        finally:
            databases.drop_database(admin, name)


@contextmanager
def project_databases(project_dir: Path) -> Iterator[Databases]:
    """Start or join the server for the tests of a project; raises Unavailable."""
    folder = files.server_paths(project_dir).home / "tests"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    with embedded.open_server(folder, settings=_SETTINGS) as server:
        template = f"template_{_digest()}"
        admin, template_conninfo = server.conninfo("postgres"), server.conninfo(template)
        with files.locked(folder / "template.lock"):
            databases.ensure_template(admin, template, lambda: _fill(template_conninfo))
        yield Databases(server, template)


def set_virtual_time(conninfo: str) -> None:
    """Replace the clock of a database by one that its sessions set."""
    databases.run_script(conninfo, _virtual_time())


def _fill(conninfo: str) -> None:
    migrate.apply(conninfo)
    set_virtual_time(conninfo)


def _virtual_time() -> str:
    return (resources("pgflow_yaml") / "testing/virtual_time.sql").read_text(encoding="utf-8")


def _digest() -> str:
    """Return a hash of the SQL of a template: another text needs another template."""
    text = migrate.dry_run_sql() + _virtual_time()
    return hashlib.sha256(text.encode()).hexdigest()[:12]
