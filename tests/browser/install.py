"""Install what drives a browser below the environment, and from Debian the programs to drive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fixtures import npm

FOLDER = Path(sys.prefix) / "browser"
AXE = "axe-core@4.14.1"  # MPL-2.0, in these tests only
AXE_FILE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
# Playwright drives the browser of the system: it downloads none. FastAPI mounts the pages.
WHEELS = ("playwright==1.65.*", "fastapi>=0.120")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = "PGFLOW_YAML_CHROMIUM"


def chromium() -> str | None:
    """Return the browser: the one that a variable names, else one on the path."""
    return os.environ.get(PROGRAM) or next(filter(None, map(shutil.which, BROWSERS)), None)


def nginx() -> str | None:
    """Return the web server of the examples; Debian has it where only root looks."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def main() -> int:
    """Install; 1 with what to do if something that is needed cannot be had."""
    command = [sys.executable, "-m", "pip", "install", "-q", *WHEELS]
    if subprocess.run(command, check=False).returncode or npm.install(FOLDER, AXE):
        return 1
    wanted = {"chromium": chromium, "nginx-light": nginx}
    missing = [package for package, find in wanted.items() if find() is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-qq", "-y", *words], env=quietly, check=False)
        missing = [package for package in missing if wanted[package]() is None]
    if missing:
        sys.stderr.write(
            f"the tests in a browser need: apt-get install {' '.join(missing)}"
            f" (another Chromium: {PROGRAM}=/path/to/it)\n"
        )
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
