"""Many commands in one warm process: each in a fork of it, with streams of its own.

It reads `[[arguments, {"1": "closed"}], …]` from stdin, and writes `[exit code, stdout, stderr]` of
each as a JSON array. A stream is `closed`, `full`, `null`, `gone` (a pipe that nobody reads) or
`kept`. Each fork begins as the installed command does, with `main` and with the streams that Python
makes of the descriptors that are open.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import ExitStack
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any

from pgflow_yaml.cli import main
from pgflow_yaml.cli.app import entries

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM = ("psycopg", "rich.live", "jsonschema", "pgflow_yaml.client", "pgflow_yaml.worker")


def _prepare(number: int, kind: str, kept: IO[bytes]) -> None:
    """Make descriptor 0, 1 or 2 what a test asks for."""
    if kind == "closed":
        os.close(number)
    elif kind == "gone":
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, number)
        os.close(writing)
    elif kind == "kept":
        os.dup2(kept.fileno(), number)
    else:
        os.dup2(os.open("/dev/full" if kind == "full" else os.devnull, os.O_RDWR), number)


def _stream(number: int) -> Any:
    """The stream that Python makes of a descriptor."""
    try:
        return open(number, "w" if number else "r", encoding="utf-8", closefd=False)
    except OSError:
        return None


def _begin(args: list[str], kinds: dict[str, str], kept: Sequence[IO[bytes]]) -> int:
    for number in (2, 1, 0):
        _prepare(number, kinds.get(str(number), "kept"), kept[number])
    sys.stdin, sys.stdout, sys.stderr = map(_stream, range(3))
    sys.argv = ["pgflow-yaml", *args]
    try:
        main()
    except SystemExit as end:
        code = end.code
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code if isinstance(code, int) else 97


def _play(args: list[str], kinds: dict[str, str]) -> tuple[int, str, str]:
    with ExitStack() as stack:
        kept = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        child = os.fork()
        if child == 0:
            code = 98
            try:
                code = _begin(args, kinds, kept)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in kept[1:]:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return os.waitstatus_to_exitcode(status), texts[0], texts[1]


if __name__ == "__main__":
    for name in WARM:
        import_module(name)
    for name in entries():
        import_module(f"pgflow_yaml.cli.commands.{name}")
    plays: list[Any] = json.load(sys.stdin)
    results = [_play(*play) for play in plays]
    sys.stdout.write(json.dumps(results))
