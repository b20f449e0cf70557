"""A copy of the package with one more numbered file, for migrations that go wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def changed_package(tmp_path: Path) -> Callable[[str], str]:
    """A folder to run Python in: a copy of the package with this text as `9000_changed.sql`."""

    def copy(sql: str) -> str:
        shutil.copytree(ROOT / "pgflow_yaml", tmp_path / "pgflow_yaml")
        (tmp_path / "pgflow_yaml/migrations/9000_changed.sql").write_text(sql)
        return str(tmp_path)

    return copy
