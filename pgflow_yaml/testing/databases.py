"""The database server of tests: kept between runs, empty of everything but a migrated template."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from pgflow_yaml.database import embedded, migrate
from pgflow_yaml.database.embedded import files
from pgflow_yaml.database.store import databases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgflow_yaml.database.embedded import LocalServer

# Nothing here outlives a test: what would keep it through a power cut is off.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}


class Databases:
    """Makes databases on the server of a project's tests."""

    def __init__(self, server: LocalServer, template: str) -> None:
        self._server, self._template = server, template

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """Give the conninfo of a new, migrated database; it is deleted afterwards."""
        name = f"test_{uuid4().hex[:12]}"
        admin = self._server.conninfo("postgres")
        databases.copy_database(admin, self._template, name)
        try:
            yield self._server.conninfo(name)
        finally:
            databases.drop_database(admin, name)


@contextmanager
def project_databases(project_dir: Path) -> Iterator[Databases]:
    """Start or join the server for the tests of a project."""
    folder = files.server_paths(project_dir).home / "tests"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    with embedded.open_server(folder, settings=_SETTINGS) as server:
        template = f"template_{_digest()}"
        admin, filled = server.conninfo("postgres"), server.conninfo(template)
        with files.locked(folder / "template.lock"):
            databases.ensure_template(admin, template, lambda: migrate.apply(filled))
        yield Databases(server, template)


def _digest() -> str:
    """Name the SQL that a template is made of: another text, another template."""
    return hashlib.sha256(migrate.dry_run_sql().encode()).hexdigest()[:12]
