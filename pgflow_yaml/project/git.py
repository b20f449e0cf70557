"""Flow files in git: the commit of a file, and its content at another revision.

Git gets a list of arguments and never runs in a shell (S-17); a revision is resolved to a commit
id first. A repository may have come with an archive, so git runs no program that its configuration
names: monitor, hooks, filters, transports, pager.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from pgflow_yaml.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pgflow_yaml.language.model import Json

_SECONDS = 5
# Git sets these for a hook. They name the repository of the hook, not that of the file.
_OF_A_HOOK = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})
_QUIET = "--no-pager --no-optional-locks -c core.fsmonitor=false -c core.hooksPath=/dev/null"
# An object that a partial clone lacks would be fetched, by a program that the repository names.
_NO_TRANSPORT = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"}


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
    changed = _git(
        folder,
        *("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty"),
        env=_without_filters(folder),
    )
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


def _without_filters(folder: Path) -> dict[str, str]:
    """Return an environment in which git runs no filter that the repository itself configures."""
    listed = _run(
        folder,
        *("config", "-z", "--show-scope", "--name-only"),
        *("--get-regexp", r"^filter\..*\.(clean|smudge|process|required)$"),
    )
    words = (listed or b"").decode("utf-8", errors="surrogateescape").split("\0")
    names = [
        name
        for scope, name in zip(words[::2], words[1::2], strict=False)
        if scope in {"local", "worktree"}
    ]
    given = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(given) if given.isdigit() else 0
    variables = {"GIT_CONFIG_COUNT": str(first + len(names))}
    for number, name in enumerate(names, first):
        variables[f"GIT_CONFIG_KEY_{number}"] = name
        variables[f"GIT_CONFIG_VALUE_{number}"] = "false" if name.endswith(".required") else ""
    return variables


def _git(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str | None:
    output = _run(folder, *arguments, env=env)
    return None if output is None else output.decode("utf-8", errors="replace").strip()


def _run(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> bytes | None:
    """Return the output of git run in a folder; None if git failed."""
    import subprocess

    command = ["git", *_QUIET.split(), "-C", str(folder), *arguments]
    ours = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            env={**ours, **_NO_TRANSPORT, **(env or {})},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout if process.returncode == 0 else None
