"""The site builds without a warning, and its generated pages are complete."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

import pgflow_yaml
from docs import generate
from tests.docs.fenced import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = json.loads((ROOT / "schemas" / "workflow.schema.json").read_text(encoding="utf-8"))


@pytest.mark.timeout(400)  # Sphinx reads all pages
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Each page is in the navigation; each internal link and anchor has a target.

    All pages are written without our theme, which takes most of the time, and one with it.
    """
    site = tmp_path / "site"
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    words += ["-d", str(tmp_path / "trees")]
    all_pages = ["-D", "html_theme=basic", str(ROOT / "docs"), str(site)]
    one_page = [str(ROOT / "docs"), str(site), str(ROOT / "docs" / "index.md")]

    for more in all_pages, one_page:
        done = subprocess.run([*words, *more], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    assert (site / "reference" / "generated" / "codes" / "PF203.html").is_file()
    assert "furo" in (site / "index.html").read_text()


def test_every_command_has_its_section_and_example() -> None:
    """In the order of `--help`, with every visible option."""
    page = generate.commands_page()
    sections = dict(re.findall(r"^## ([a-z]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))

    assert list(sections) == [name for name, _ in generate.commands()]
    for name, command in generate.commands():
        options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        assert all(option.opts[-1] in sections[name] for option in options), name
        assert "\npgflow-yaml" in sections[name], name


def test_every_key_has_its_row() -> None:
    """Each key of the schema, with its default."""
    page = generate.keys_page()

    for owner in (SCHEMA, *SCHEMA["definitions"].values()):
        for key, value in owner.get("properties", {}).items():
            rows = re.findall(rf"^\| `{key}` \| .* \| (.*?) \| .+ \|$", page, re.MULTILINE)
            assert rows, key
            if "default" in value:
                default = json.dumps(value["default"]).strip('"')
                assert f"`{default}`" in rows, key


def test_every_code_has_its_page() -> None:
    """The file that `explain` reads, and the code in the list."""
    pages = generate.code_pages()

    assert len(pages) > 50
    assert all(text.startswith(f"# {code}: ") for code, text in pages.items())
    assert all(f"codes/{code}.md" in generate.codes_page() for code in pages)


def test_every_public_name_has_its_section() -> None:
    """Names, methods and their docstrings, in the order of `__all__`."""
    page = generate.python_page()

    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == pgflow_yaml.__all__
    assert "### Client.start_many" in page
    assert not re.search(r"```\n\n(##|\Z)", page), "a name without a docstring"
