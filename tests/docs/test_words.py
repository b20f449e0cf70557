"""Plain words where people read: SQL, schemas, `--help`, public names, documentation.

A word that was replaced once does not return. Each table maps the old word to the new one.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from typing import TYPE_CHECKING, Any

import click
import pytest

import pgflow_yaml
from pgflow_yaml import Client
from pgflow_yaml.cli.app import app
from tests.docs.fenced import PAGES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PACKAGE = ROOT / "pgflow_yaml"

IN_SQL_NAMES = {
    "door": "origin",
    "tame": "fails_at_once",
    "plain": "starts_simply",
    "plain_end": "ends_simply",
    "soft": "tolerant",
    "wide": "windowed",
    "_look": "_evaluate_ready",
    "_look_at": "_evaluate_step",
    "_said": "_find_signal",
    "_tell_parents": "_notify_parents",
    "_leave": "_release_timers",
    "_sort_out": "_resolve_unusual_claims",
    "_wind_clock": "_run_timers",
    "pgflow__clock": "pgflow__timers",
}
IN_CLASS_NAMES = {
    "Exchange": "TurnClient",
    "Beside": "BackgroundWorker",
    "Link": "Connection",
    "Ear": "Listener",
    "Look": "Symbols",
    "Fate": "FailureHandling",
    "Scene": "RowContext",
    "Places": "ServerPaths",
}
IN_MODULE_NAMES = {
    "knobs": "step_options",
    "kinds": "step_kinds",
    "places": "positions",
    "sentences": "messages",
    "fixes": "suggested_fixes",
    "keys": "unknown_keys",
    "report": "findings",
    "say": "one module for each command",
    "fates": "failures",
    "given": "the noun",
    "beside": "background",
}
IN_PROSE = {
    r"doors?": "origin, or function",
    r"clock queue": "timer queue",
    r"knobs?": "option, default",
    r"whoever|whatever happened": "a noun",
    r"so many|so long|so may": "a number of, maximum",
    r"look now and then": "poll",
    r"(?<!there )(?:is|are) no (?:duration|list|object|flow|step)": "is not a",
}
AT_THE_BEGINNING = "What|How|Whether|Who|Whoever|Say|Tell|So"


def sql_files() -> list[Path]:
    """Return all files of the migrations."""
    return sorted((ROOT / "migrations").rglob("*.sql"))


def whole(words: Mapping[str, str]) -> re.Pattern[str]:
    """Match any of these words, whole."""
    return re.compile(rf"(?<![\w$])(?:{'|'.join(words)})(?![\w$])", re.IGNORECASE)


def lines_with(pattern: re.Pattern[str], texts: Mapping[str, str]) -> str:
    """Return the lines with such a word, each with the name of its text."""
    return "\n".join(
        f"{name}:{number}: {line.strip()}"
        for name, text in texts.items()
        for number, line in enumerate(text.split("\n"), 1)
        if pattern.search(line)
    )


def test_the_names_of_the_sql_are_plain() -> None:
    """Columns, functions and queues; comments may use the English words."""
    code = {
        str(file.relative_to(ROOT)): re.sub(r"--.*", "", file.read_text(encoding="utf-8"))
        for file in sql_files()
    }

    assert lines_with(whole(IN_SQL_NAMES), code) == ""


def test_the_comments_of_the_sql_are_plain() -> None:
    """Comments are prose as well."""
    texts = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in sql_files()}

    assert lines_with(whole(IN_PROSE), texts) == ""


def descriptions(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each description in a schema with its path."""
    if isinstance(value, dict):
        if isinstance(value.get("description"), str):
            yield path, value["description"]
        for key, inner in value.items():
            yield from descriptions(inner, f"{path}/{key}")


@pytest.mark.parametrize("name", ["workflow", "test"])
def test_the_descriptions_of_the_schemas_are_plain(name: str) -> None:
    """Editors show them; they begin with a noun phrase."""
    schema = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    texts = dict(descriptions(schema))

    assert lines_with(whole(IN_PROSE), texts) == ""
    assert lines_with(re.compile(rf"^(?:{AT_THE_BEGINNING})\b"), texts) == ""


def helps() -> dict[str, str]:
    """Return the texts of `--help`: of the program, each command and each option."""
    context = click.Context(app)
    commands = {name: app.get_command(context, name) for name in app.list_commands(context)}
    texts = {"pgflow-yaml": app.get_help(context)}
    for name, command in [("", app), *commands.items()]:
        assert command is not None, name
        texts[name] = command.help or ""
        for option in command.params:
            if isinstance(option, click.Option):
                texts[f"{name} {option.opts[-1]}"] = option.help or ""
    return texts


def test_the_help_of_all_commands_is_plain() -> None:
    """Imperatives and noun phrases, as in other programs."""
    texts = helps()

    assert lines_with(whole(IN_PROSE), texts) == ""
    assert lines_with(re.compile(rf"^(?:{AT_THE_BEGINNING})\b"), texts) == ""


def test_the_public_names_are_plain() -> None:
    """The names in `__all__`, and the methods of `Client`."""
    methods = [name for name, _ in inspect.getmembers(Client) if not name.startswith("_")]
    old = whole({**IN_SQL_NAMES, **IN_CLASS_NAMES, **IN_MODULE_NAMES})

    assert [name for name in [*pgflow_yaml.__all__, *methods] if old.fullmatch(name)] == []


def test_the_modules_and_classes_have_the_terms_of_the_field() -> None:
    """A name leads to the idea: no module and no class has one of the old names."""
    modules = [
        file
        for file in PACKAGE.rglob("*.py")
        if file.stem in IN_MODULE_NAMES or file.parent.name in IN_MODULE_NAMES
    ]
    classes = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name in IN_CLASS_NAMES
    ]

    assert "\n".join(str(file.relative_to(ROOT)) for file in modules) == ""
    assert "\n".join(classes) == ""


def test_the_documentation_is_plain() -> None:
    """Prose, tables and examples of all pages, and of those that `explain` prints."""
    codes = sorted((PACKAGE / "language" / "codes").glob("*.md"))
    pages = [*PAGES, *codes, ROOT / "CHANGELOG.md"]
    texts = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in pages}

    assert lines_with(whole(IN_PROSE), texts) == ""
