"""Configuration of Sphinx for `make docs`, in which each warning is an error."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs import generate  # noqa: E402 (needs the path above)

generate.main()

project = "pgflow-yaml"
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser"]
myst_heading_anchors = 3
nitpicky = True
smartquotes = False  # options begin with two hyphens
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"pgflow-yaml {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
