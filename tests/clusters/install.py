"""Install the engines into the environment: 350 MB, which only `make test-executors` needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

WHEELS = ("parsl>=2026.10",)


def main() -> int:
    """Install; return the exit code of pip."""
    project = f"{Path(__file__).resolve().parents[2]}[dask,ray]"
    command = [sys.executable, "-m", "pip", "install", "-q", "-e", project, *WHEELS]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
