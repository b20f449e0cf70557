"""The handler `shell`: a program in a process group of its own, which ends with its attempt.

It gets an environment of listed variables (S-21), in a folder of the project (S-17). The list of
the command goes to the program as it is; no shell reads it. The group ends at the timeout, when its
task is cancelled, when the program ends, and when the worker does, even by `kill -9`: a guard in
the group waits for the end of a pipe that the worker alone holds open.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from selectors import EVENT_READ, DefaultSelector
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from pgflow_yaml.errors import PermanentError, PgflowError
from pgflow_yaml.handlers.arguments import (
    OUTPUTS,
    WrongArgument,
    one_of,
    shown,
    text,
    texts,
    whole_numbers,
    word,
)
from pgflow_yaml.handlers.lines import Lines
from pgflow_yaml.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pgflow_yaml.handlers.grants import Grants
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls import Context

MAX_OUTPUT = 1024 * 1024
# Fixed text: the command follows as arguments. The guard is forked before the program begins, and
# holds none of its streams; `0` is the group of both. The first argument is the file of stdin.
_LAUNCH = (
    'exec 3<&0 <"$1"; shift; '
    "(trap '' HUP INT TERM; read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 & "
    'exec "$@" 3<&-'
)
_SHELL = "/bin/sh"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 1.0  # from SIGTERM to SIGKILL; a handler that goes on for longer counts as deaf
# So long before the timeout a program is asked to end: the next attempt must not run beside it.
_MARGIN_SECONDS, _MARGIN_SHARE = 1.3, 0.2
_LAST_LINES, _LAST_CHARACTERS = 10, 300


class CommandFailed(PgflowError):
    """The program ended with another exit code than those that count as success."""


class Timeout(PgflowError):
    """The program did not end in the time of its step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program with its arguments, checked against what the worker grants."""

    words: list[str]
    environment: Mapping[str, str]
    folder: Path
    output: str
    exit_codes: frozenset[int]

    @classmethod
    def read(
        cls, grants: Grants, *, command: Json, env: Json, cwd: Json, output: Json, exit_codes: Json
    ) -> Command:
        """Return the command of a step; raise PermanentError for what it cannot or may not be."""
        if not isinstance(command, list) or not command:
            raise WrongArgument(
                f"command is a list such as [git, fetch, --all], not {shown(command)}: "
                "no shell reads it"
            )
        words = [word(item, f"command[{index}]") for index, item in enumerate(command)]
        own = texts(env, "env")
        for name in own:
            if not _NAME.fullmatch(name):
                raise WrongArgument(f'env: "{name}" is not the name of a variable')
        if any("\0" in part for part in (*words, *own.values())):
            raise WrongArgument("command and env cannot hold the character U+0000")
        folder = grants.folder_of("." if cwd is None else text(cwd, "cwd"))
        environment = {**grants.environment(), **own, "PWD": str(folder)}
        return cls(
            words=[_program(words[0], folder, environment), *words[1:]],
            environment=environment,
            folder=folder,
            output=one_of(output, "output", OUTPUTS),
            exit_codes=whole_numbers(exit_codes, "exit_codes", 0, 255),
        )


def run_command(command: Command, stdin: Json, ctx: Context) -> Json:
    """Run the program of a step to its end; return its output in the wanted form."""
    if stdin is None:
        return _run(command, ctx, None)
    with TemporaryFile() as file:  # without a name: nobody else opens it
        file.write((stdin if isinstance(stdin, str) else json.dumps(stdin)).encode())
        file.flush()
        file.seek(0)
        return _run(command, ctx, file.fileno())


def _run(command: Command, ctx: Context, stdin: int | None) -> Json:
    own = {
        "PGFLOW_RUN": ctx.run_id,
        "PGFLOW_STEP": ctx.step,
        "PGFLOW_INDEX": str(ctx.index),
        "PGFLOW_ATTEMPT": str(ctx.attempt),
        "PGFLOW_IDEMPOTENCY_KEY": ctx.idempotency_key,
    }
    life, held = os.pipe()  # not inherited: the worker's end closes it
    try:
        process = subprocess.Popen(
            [
                *(_SHELL, "-c", _LAUNCH, "sh"),
                os.devnull if stdin is None else f"/dev/fd/{stdin}",
                *command.words,
            ],
            stdin=life,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=command.folder,
            env={**command.environment, **own},
            start_new_session=True,
            pass_fds=() if stdin is None else (stdin,),
        )
    except OSError as error:
        os.close(held)
        raise CommandFailed(f"the program cannot be started: {error.strerror}") from None
    finally:
        os.close(life)
    running = _Running(command, process, ctx)
    try:
        return running.result()
    finally:
        running.kill()
        process.wait()
        os.close(held)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@dataclass(slots=True)
class _Running:
    """A program that has been started: what it has printed, and when it must end."""

    command: Command
    process: subprocess.Popen[bytes]
    ctx: Context
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    printed: bytearray = field(default_factory=bytearray)
    is_killed: bool = False
    margin: float = _MARGIN_SECONDS

    def result(self) -> Json:
        """Read what the program prints until it ends; raise what became of it otherwise."""
        seconds = (self.ctx.deadline - datetime.now(UTC)).total_seconds()
        self.margin = min(_MARGIN_SECONDS, seconds * _MARGIN_SHARE)
        self._follow(time.monotonic() + seconds - self.margin)
        code = self.process.returncode
        if code not in self.command.exit_codes:
            raise CommandFailed(f"{self._name()} {_end(code)}{self._last_lines()}")
        return self._output()

    def kill(self) -> None:
        """Kill what is left of the group, once: its number may then be another's."""
        if not self.is_killed:
            self.is_killed = True
            _signal(self.process, signal.SIGKILL)

    def _follow(self, deadline: float) -> None:
        with DefaultSelector() as selector:
            for stream in (self.process.stdout, self.process.stderr):
                assert stream is not None
                selector.register(stream, EVENT_READ, Lines(self._take))
            leave_by = None  # once it has ended: what holds its streams open has left the group
            while selector.get_map() or leave_by is None:
                left = deadline - time.monotonic() if leave_by is None else _LOOK_SECONDS
                self._read(selector, max(0.0, min(left, _LOOK_SECONDS)))
                now = time.monotonic()
                if leave_by is not None:
                    if now > leave_by:
                        break
                elif self.process.poll() is not None:
                    self.kill()
                    leave_by = now + _GRACE_SECONDS
                elif self.ctx.cancelled:
                    self._stop()
                    raise PermanentError(f"{self._name()} was stopped: its task is cancelled")
                elif now > deadline:
                    self._stop()
                    raise Timeout(
                        f"{self._name()} did not end in the time of its step{self._last_lines()}"
                    )
            for key in list(selector.get_map().values()):
                key.data.end()

    def _read(self, selector: DefaultSelector, seconds: float) -> None:
        if not selector.get_map():
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
            return
        for key, _ in selector.select(seconds):
            chunk = os.read(key.fd, 65536)
            key.data.add(chunk)
            if not chunk:
                selector.unregister(key.fileobj)
            elif key.fileobj is self.process.stdout and self.command.output != "none":
                self._keep(chunk)

    def _keep(self, chunk: bytes) -> None:
        self.printed += chunk
        if len(self.printed) > MAX_OUTPUT:
            self._stop()
            raise PermanentError(
                f"{self._name()} prints more than 1 MB, too much for an output: "
                "let it write a file and print its name, or remove `output`"
            )

    def _take(self, line: str) -> None:
        self.last.append(line if len(line) <= _LAST_CHARACTERS else f"{line[:_LAST_CHARACTERS]}…")
        self.ctx.log.info("%s", line)

    def _stop(self) -> None:
        """End the group: it is asked first, and killed after a moment."""
        _signal(self.process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(min(_GRACE_SECONDS, self.margin * 0.7))

    def _output(self) -> Json:
        if self.command.output == "none":
            return None
        try:
            printed = self.printed.decode()
            if self.command.output == "lines":
                return list(printed.removesuffix("\n").split("\n")) if printed else []
            return printed.rstrip("\n") if self.command.output == "text" else json.loads(printed)
        except ValueError:
            wanted = "JSON" if self.command.output == "json" else "UTF-8 text"
            raise PermanentError(
                f"{self._name()} did not print {wanted}, which `output: {self.command.output}` "
                f"wants{self._last_lines()}"
            ) from None

    def _name(self) -> str:
        return f'"{os.path.basename(self.command.words[0])}"'  # noqa: PTH119 (a word, not a file)

    def _last_lines(self) -> str:
        if not self.last:
            return "; it printed nothing"
        head = (
            "its last line" if len(self.last) == 1 else f"its last {plural(len(self.last), 'line')}"
        )
        return "\n".join([f"; {head}:", *self.last])


def _program(name: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Return the path of a program; raise PermanentError if there is none."""
    if os.sep in name:
        path = folder / name
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
        problem = "cannot be executed" if path.exists() else "does not exist"
        raise PermanentError(f"the program {path} {problem} where this worker runs")
    found = shutil.which(name, path=environment.get("PATH", os.defpath)) if name else None
    if found is None or not os.path.isabs(found):  # noqa: PTH117 (a text from `which`)
        raise PermanentError(f'there is no program "{name}" in the PATH of this worker')
    return found


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
