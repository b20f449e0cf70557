"""Flow files in git: the commit of a file, and its content at another revision.

Git gets a list of arguments and never runs in a shell (S-17); a revision is resolved to a commit
id first.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from pgflow_yaml.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from pgflow_yaml.language.model import Json

_SECONDS = 5
# Git sets these for a hook. They name the repository of the hook, not that of the file.
_OF_A_HOOK = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})


def facts(file: Path) -> dict[str, Json] | None:
    """Return commit, branch, author, and whether the folder has uncommitted changes.

    None outside of a repository, and in a repository without a commit.
    """
    file = file.resolve()
    folder = file if file.is_dir() else file.parent
    output = _git(folder, "log", "-1", "--no-show-signature", "--format=%H%n%an")
    if not output:
        return None
    commit, author = output.split("\n")[:2]
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    # A file that git does not track is not part of the commit.
    unknown = not file.is_dir() and not _git(folder, "ls-files", "--", file.name)
    return {
        "commit": commit,
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "dirty": bool(changed) or unknown,
        "author": author,
    }


def at_revision(file: Path, revision: str) -> bytes:
    """Return the content of a file at a revision of its repository; raises NotFound."""
    real = file.resolve()
    folder = real.parent
    if not folder.is_dir():
        raise NotFound(f'there is no folder "{folder}"')
    if shutil.which("git") is None:
        raise Unavailable("git is not installed here, or not on PATH")
    if _git(folder, "rev-parse", "--git-dir") is None:
        raise NotFound(f'"{file}" is in no git repository, so it has no revision "{revision}"')
    expression = f"{revision}^{{commit}}"
    commit = None
    if not revision.startswith("-"):
        commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", expression)
    if not commit:
        raise NotFound(f'there is no revision "{revision}" in the repository of "{file}"')
    content = _run(folder, "cat-file", "blob", f"{commit}:./{real.name}")
    if content is None:
        raise NotFound(f'"{file}" did not exist at revision "{revision}"')
    return content


def _git(folder: Path, *arguments: str) -> str | None:
    output = _run(folder, *arguments)
    return None if output is None else output.decode("utf-8", errors="replace").strip()


def _run(folder: Path, *arguments: str) -> bytes | None:
    """Return the output of git run in a folder; None if git failed."""
    import subprocess

    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    env = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    try:
        process = subprocess.run(
            command, capture_output=True, check=False, timeout=_SECONDS, env=env
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout if process.returncode == 0 else None
