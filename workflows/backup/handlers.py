"""Pack, check and keep archives."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

from pgflow_yaml import PermanentError


def pack(folder: str, workspace: str) -> str:
    """Pack a folder into an archive in the workspace."""
    if not Path(folder).is_dir():
        raise PermanentError(f"{folder} is no folder")
    work = Path(workspace)
    work.mkdir(parents=True, exist_ok=True)
    return shutil.make_archive(str(work / "backup"), "zip", folder)


def check(archive: str, limit_kb: int) -> int:
    """Read the whole archive; fail when it is broken or too large."""
    with zipfile.ZipFile(archive) as opened:
        if broken := opened.testzip():
            raise ValueError(f"{broken} is broken in {archive}")
        files = len(opened.namelist())
    size = Path(archive).stat().st_size // 1024
    if size > limit_kb:
        raise PermanentError(f"{size} kB are more than {limit_kb}")
    return files


def publish(archive: str, target: str, name: str) -> str:
    """Copy the archive to the folder of backups, atomically."""
    backup = Path(target) / f"backup-{re.sub('[^0-9]', '', name)[:14]}.zip"
    part = backup.with_suffix(".part")
    shutil.copyfile(archive, part)
    part.replace(backup)
    return str(backup)


def prune(target: str, keep: int) -> list[str]:
    """Delete all but the newest backups."""
    old = sorted(Path(target).glob("backup-*.zip"))[:-keep]
    for path in old:
        path.unlink()
    return [path.name for path in old]


def clean_up(workspace: str) -> None:
    """Remove the workspace, if there is one."""
    shutil.rmtree(workspace, ignore_errors=True)


def log(
    target: str,
    *,
    status: str,
    statuses: dict[str, str],
    failed: list[str],
    skipped: list[str],
) -> str:
    """Log the final status of each step."""
    Path(target).mkdir(parents=True, exist_ok=True)
    entry = {"status": status, "steps": statuses, "failed": failed, "skipped": skipped}
    with (Path(target) / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    return json.dumps(entry)


def alarm(steps: list[str], why: str | None) -> str:
    """Return a message with the failed steps and their errors."""
    return f"backup failed at {', '.join(steps)}: {why or 'see the log'}"
