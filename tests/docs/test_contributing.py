"""`CONTRIBUTING.md` and the glossary: each module, test folder and term has one row."""

from __future__ import annotations

import re

from tests.docs.fenced import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "reference" / "glossary.md").read_text(encoding="utf-8")


def table(heading: str) -> list[str]:
    """Return the text in code marks in the table under a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*\|$", section, re.MULTILINE)
    return re.findall(r"`([^`]+)`", "\n".join(rows))


def test_every_storey_has_its_row() -> None:
    """A reader who looks for a module of the package finds its storey in the table, once."""
    package = ROOT / "pgflow_yaml"
    modules = {file.name for file in package.glob("*.py") if not file.stem.startswith("__")}
    modules |= {f"{file.parent.name}/" for file in package.glob("*/__init__.py")}
    named = [word.removeprefix("pgflow_yaml/") for word in table("Where things are")]

    assert {module: named.count(module) for module in modules} == dict.fromkeys(modules, 1)


def test_every_folder_of_tests_has_its_row() -> None:
    """Each folder with tests has one row with its content and its needs."""
    folders = {f"tests/{file.parent.name}" for file in (ROOT / "tests").glob("*/test_*.py")}
    named = table("Tests")

    assert {folder: named.count(folder) for folder in folders} == dict.fromkeys(folders, 1)


def test_every_term_has_one_row_in_the_glossary() -> None:
    """Two rows for a term would be two meanings."""
    words = re.findall(r"^\| ([^|]+) \|", GLOSSARY, re.MULTILINE)[2:]

    assert len(words) > 40
    assert sorted(words) == sorted(set(words))
