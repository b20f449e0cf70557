"""These tests need packages of another registry: they are collected by `make test-editor` only."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("PGFLOW_YAML_EDITOR") else ["test_*.py"]
