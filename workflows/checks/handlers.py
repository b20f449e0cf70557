"""Handlers of the checks. A check that fails raises; the flow decides about the effect."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sqlite3
import sys
import time
from pathlib import Path
from typing import Protocol, TypedDict


class Attempt(Protocol):
    """Part of the context that `drill` reads; a parameter named `ctx` receives it."""

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""


class Version(TypedDict):
    """The first two numbers of Python's version."""

    major: int
    minor: int


class Facts(TypedDict):
    """Kind of machine: its system and hardware."""

    system: str
    cores: int
    python: Version


class Room(TypedDict):
    """Free space on the disk of a folder."""

    folder: str
    free_mb: int


class Timing(TypedDict):
    """Number of rows written and read back, and the seconds that took."""

    rows: int
    seconds: float


class Report(TypedDict):
    """The outcome of all checks."""

    machine: str
    passed: list[str]
    skipped: list[str]
    free_mb: int
    drill_attempts: int
    service_problem: str


def facts() -> Facts:
    """Return the kind of machine."""
    version: Version = {"major": sys.version_info.major, "minor": sys.version_info.minor}
    return {"system": platform.system(), "cores": os.cpu_count() or 1, "python": version}


def versions() -> dict[str, str]:
    """Return the versions that the checks need."""
    return {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}


def memory() -> dict[str, int]:
    """Return the total and the available memory in MB, from the kernel."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kilobytes = {line.partition(":")[0]: line.split()[1] for line in lines}
    wanted = {"total_mb": "MemTotal", "available_mb": "MemAvailable"}
    return {name: int(kilobytes[key]) // 1024 for name, key in wanted.items()}


def disk(folder: str, min_free_mb: int) -> Room:
    """Return the free space on the disk of a folder; too little is an error."""
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < min_free_mb:
        raise OSError(f"{folder} has {free_mb:,} MB of room; {min_free_mb:,} are needed")
    return {"folder": str(Path(folder).resolve()), "free_mb": free_mb}


def drill(ctx: Attempt, failures: int) -> dict[str, int]:
    """Fail the first `failures` attempts, to show retries."""
    if ctx.attempt <= failures:
        raise ConnectionError(f"drill: failure {ctx.attempt} of {failures} that are meant to be")
    return {"attempts": ctx.attempt}


async def service(address: str) -> dict[str, float | str]:
    """Connect to HOST:PORT; an `async def` is awaited, and cancelled at its timeout."""
    host, _, port = address.rpartition(":")
    began = time.perf_counter()
    _, writer = await asyncio.open_connection(host, int(port))
    writer.close()
    await writer.wait_closed()
    return {"address": address, "seconds": round(time.perf_counter() - began, 4)}


def database(rows: int) -> Timing:
    """Write rows to SQLite in memory and read their sum back."""
    began = time.perf_counter()
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("create table numbers (n integer)")
        connection.executemany("insert into numbers values (?)", ((n,) for n in range(rows)))
        total = connection.execute("select sum(n) from numbers").fetchone()[0]
    finally:
        connection.close()
    if total != rows * (rows - 1) // 2:
        raise ArithmeticError(f"SQLite adds up {rows:,} numbers to {total}")
    return {"rows": rows, "seconds": round(time.perf_counter() - began, 4)}


def speed(rows_per_second: float) -> str:
    """Return the speed in words."""
    return f"{rows_per_second:,.0f} rows a second"


def clock() -> float:
    """Return the seconds since 1970."""
    return time.time()


def clock_again(before: float, at_least: float) -> float:
    """Return the seconds since `before`; a clock that did not advance is an error."""
    passed = time.time() - before
    if passed < at_least:
        raise RuntimeError(f"{passed:.3f} s have passed; at least {at_least} were waited")
    return round(passed, 3)


def report(
    *,
    machine: str,
    statuses: dict[str, str],
    free_mb: int,
    drill_attempts: int,
    service_problem: str,
) -> Report:
    """Return the checks sorted by their outcome."""
    return {
        "machine": machine,
        "passed": [name for name, status in statuses.items() if status == "completed"],
        "skipped": [name for name, status in statuses.items() if status == "skipped"],
        "free_mb": free_mb,
        "drill_attempts": drill_attempts,
        "service_problem": service_problem,
    }
