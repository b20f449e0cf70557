"""Functions of the digest: find what has changed, write the list."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path


def changed(folder: str, night: str) -> list[str]:
    """Return the files below a folder that changed in the 24 hours before a night."""
    end = datetime.fromisoformat(night)
    begin = end - timedelta(days=1)
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return [
        path.as_posix()
        for path in files
        if begin.timestamp() <= path.stat().st_mtime < end.timestamp()
    ]


def write(files: list[str], night: str) -> str:
    """Write the digest of a night; one that is there is replaced, so that it can be made again."""
    target = Path(".pgflow/out") / f"digest-{night[:10] or 'now'}.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(files) + "\n", encoding="utf-8")
    return target.as_posix()
