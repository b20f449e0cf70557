"""`docs/how-to/assistants.md`: its configurations parse, and its tables have the tools."""

from __future__ import annotations

import json
import re

import click

from pgflow_yaml.cli.app import app
from pgflow_yaml.mcp.tools import ACTING, READING
from tests.docs.fenced import ROOT, everything

PAGE = ROOT / "docs" / "how-to" / "assistants.md"


def test_the_configurations_start_the_command() -> None:
    """Each names one server, whose words are those of a command that exists."""
    found = [json.loads(block.text) for block in everything(PAGE) if block.language == "json"]

    assert len(found) == 3
    for config in found:
        ((server,),) = (servers.values() for servers in config.values())
        assert server["command"].endswith("/pgflow-yaml")
        assert app.get_command(click.Context(app), *server["args"]) is not None


def test_the_tables_have_the_tools() -> None:
    """Those that look, then those that act, in their order."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"\w+", row)]

    assert names == [tool.name for tool in (*READING, *ACTING)]
