"""What is built from a checkout can be installed and works."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from zipfile import ZipFile

import psycopg
import pytest

from pgflow_yaml.database import migrate

ROOT = Path(__file__).parents[2]


def run(*command: str | Path) -> str:
    """Run a command outside of the checkout; fail with all it said."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel made from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.mark.slow
def test_a_wheel_made_from_the_sdist_has_all_files(built: Path) -> None:
    """The folders reached by symlinks are in both, with every file; so are templates and texts."""
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    wanted = {
        f"pgflow_yaml/{file.relative_to(ROOT)}"
        for folder in ("migrations", "schemas")
        for file in (ROOT / folder).rglob("*.*")
        if file.is_file()
    }
    wanted |= {
        str(file.relative_to(ROOT))
        for folder in ("templates", "language")
        for file in (ROOT / "pgflow_yaml" / folder).rglob("*.*")
        if file.is_file() and "__pycache__" not in file.parts
    }

    with tarfile.open(sdist) as archive:
        in_sdist = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    with ZipFile(wheel) as contents:
        in_wheel = set(contents.namelist())

    assert wanted - in_sdist == set()
    assert wanted - in_wheel == set()
    assert "pgflow_yaml/py.typed" in in_wheel
    assert not {name for name in in_wheel if name.startswith(("tests/", "workflows/"))}


@pytest.mark.slow
def test_the_installed_wheel_migrates(built: Path, tmp_path: Path, empty_database: str) -> None:
    """With nothing but the wheel and its dependencies, the printed SQL is whole."""
    venv.create(tmp_path, symlinks=True)
    (site,) = tmp_path.glob("lib/python*/site-packages")
    (wheel,) = built.glob("*.whl")
    python = tmp_path / "bin/python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    run(*pip, "--no-index", "--no-deps", "--disable-pip-version-check", wheel)
    # Its dependencies: those of this environment, whose own link to the checkout is not followed.
    (site / "dependencies.pth").write_text(f"{Path(psycopg.__file__).parents[1]}\n")
    where = run(python, "-c", "import pgflow_yaml; print(pgflow_yaml.__file__)")

    printed = run(tmp_path / "bin/pgflow-yaml", "migrate", "--dry-run")

    assert where.startswith(str(tmp_path))
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(printed.encode())
    migrate.check(empty_database)
