"""`.pre-commit-hooks.yaml`, used as another project would use it, by the real pre-commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOOD = "flow: good\nsteps:\n  a: {handler: tasks.work}\n"
BAD = "flow: bad\nsteps:\n  a: {handlr: tasks.work}\n"


def run(*command: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a folder."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def committed(folder: Path) -> str:
    """Make a repository of a folder and return its commit."""
    identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
    run("git", "init", "--quiet", folder=folder)
    run("git", "add", "--all", folder=folder)
    run("git", *identity, "commit", "--quiet", "--message=all", folder=folder)
    return run("git", "rev-parse", "HEAD", folder=folder).stdout.strip()


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, str]:
    """This project as it is now, in a repository of its own, and its commit."""
    copy = tmp_path / "published"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in run(*listed, folder=ROOT).stdout.rstrip("\0").split("\0"):
        source, target = ROOT / name, copy / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return copy, committed(copy)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_another_project_validates_its_flows_before_each_commit(
    published: tuple[Path, str], tmp_path: Path
) -> None:
    """A good flow passes; a bad one is shown with its place; other files are left alone."""
    pytest.importorskip("pre_commit", reason="it is one of the extra `dev`")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "pip"]
    if run(*pip, "hatchling", folder=tmp_path).returncode:
        pytest.skip("pre-commit installs from a package index, and none can be reached")
    project = tmp_path / "project"
    project.mkdir()
    repository, revision = published
    (project / ".pre-commit-config.yaml").write_text(
        f"repos:\n  - repo: {repository}\n    rev: {revision}\n"
        "    hooks: [{id: pgflow-yaml-validate}, {id: pgflow-yaml-schema}]\n"
    )
    (project / "good.flow.yaml").write_text(GOOD)
    (project / "flows" / "bad").mkdir(parents=True)
    (project / "flows" / "bad" / "workflow.yaml").write_text(BAD)
    (project / "other.yaml").write_text("no: flow\n")
    schema = project / "schemas" / "workflow.schema.json"
    schema.parent.mkdir()
    shutil.copy(ROOT / "schemas" / schema.name, schema)
    committed(project)
    pre_commit = [sys.executable, "-m", "pre_commit", "run"]
    home = {"PRE_COMMIT_HOME": str(tmp_path / "home")}

    good = run(*pre_commit, "--files", "good.flow.yaml", "other.yaml", folder=project, **home)
    schema.write_text(schema.read_text() + "\n")
    bad = run(*pre_commit, "--all-files", folder=project, **home)

    assert good.returncode == 0, good.stdout + good.stderr
    assert "Passed" in good.stdout
    assert bad.returncode == 1, bad.stdout + bad.stderr
    assert "flows/bad/workflow.yaml:3:7: error[PF102]" in bad.stdout
    assert "1 error in 1 file" in bad.stdout
    assert "schemas/workflow.schema.json: not the schema of this release" in bad.stdout
