"""Install the YAML language server below the environment."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fixtures.npm import install

SERVER = "yaml-language-server@2.0.0"
FOLDER = Path(sys.prefix) / "editor"
MAIN = FOLDER / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"


if __name__ == "__main__":
    sys.exit(install(FOLDER, SERVER))
