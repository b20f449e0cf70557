"""Write the reference pages that the program itself knows: commands, keys, codes, Python names.

The site's configuration calls this before each build. The pages are not committed; nothing in
them is written by hand, so they cannot fall behind.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import pgflow_yaml
from pgflow_yaml.cli.app import app
from pgflow_yaml.language.codes import codes, explanation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference" / "generated"
LONGEST_LINE = 80
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "workflow.schema.json").read_text())


def main(folder: Path = FOLDER) -> None:
    """Write all pages into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "codes").mkdir(parents=True)
    pages = {
        "commands.md": commands_page(),
        "keys.md": keys_page(),
        "codes.md": codes_page(),
        "python.md": python_page(),
        **{f"codes/{code}.md": text for code, text in code_pages().items()},
    }
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Format a Markdown table."""
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def escaped(text: str) -> str:
    """Keep Markdown from reading `*` and `<` outside of code as its own."""
    parts = text.split("`")
    parts[::2] = [part.replace("*", "\\*").replace("<", "\\<") for part in parts[::2]]
    return "`".join(parts)


# Commands


def commands_page() -> str:
    """Return the page of all commands with their options, in the order of the help."""
    intro = (
        "# Commands\n\n`pgflow-yaml COMMAND --help` prints the same in the terminal; "
        "[the command line](../cli.md) has exit codes and JSON.\n"
    )
    parts = [intro, "## Options of every command\n\n" + _options(app, click.Context(app))]
    for name, command in commands():
        context = click.Context(command, info_name=f"pgflow-yaml {name}")
        options = _options(command, context)
        parts.append(f"## {name}\n\n```text\n{_usage(command, context)}\n```\n\n{_help(command)}\n")
        parts += [options] if options else []
        parts.append(f"```sh\n{getattr(command, 'example', '')}\n```\n")
    return "\n".join(parts)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its name."""
    context = click.Context(app)
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        assert command is not None, name
        yield name, command


def _usage(command: click.Command, context: click.Context) -> str:
    return command.get_usage(context).removeprefix("Usage: ")


def _help(command: click.Command) -> str:
    paragraphs = (command.help or "").split("\n\n")
    return "\n\n".join(escaped(" ".join(paragraph.split())) for paragraph in paragraphs)


def _options(command: click.Command, context: click.Context) -> str:
    records = (
        option.get_help_record(context)
        for option in command.get_params(context)
        if isinstance(option, click.Option) and "--help" not in option.opts
    )
    rows = [(f"`{record[0]}`", escaped(record[1])) for record in records if record]
    return table(("Option", "Meaning"), rows) if rows else ""


# Keys of flow files


def keys_page() -> str:
    """Return the page of all keys, as the JSON Schema of flow files describes them."""
    intro = (
        "# Keys of a flow file\n\nEvery key with its type, default and meaning, from the JSON "
        "Schema that `pgflow-yaml schema` prints. [The language](../language.md) explains how the "
        "keys work together.\n"
    )
    parts = [intro, "## Flow\n\n" + _keys(SCHEMA)]
    for name, definition in SCHEMA["definitions"].items():
        if "properties" in definition and name not in {"field", "fieldSchema"}:
            title = re.sub("[A-Z]", lambda match: f" {match[0].lower()}", name).capitalize()
            parts.append(f"## {title}\n\n" + _keys(definition))
    parts.append("## Input field\n\n" + _keys(SCHEMA["definitions"]["fieldSchema"]))
    return "\n".join(parts)


def _keys(owner: dict[str, Any]) -> str:
    required = owner.get("required", ())
    rows = [
        (f"`{key}`", _type(value), _default(key, value, required), _meaning(value))
        for key, value in owner["properties"].items()
    ]
    return table(("Key", "Type", "Default", "Meaning"), rows)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Merge a part of the schema with the definitions that it refers to; its own words win."""
    merged: dict[str, Any] = {}
    for reference in [schema, *schema.get("allOf", ())]:
        if "$ref" in reference:
            _, part, name = reference["$ref"].split("/")
            merged |= resolved(SCHEMA[part][name])
    return merged | schema


def _type(schema: dict[str, Any]) -> str:
    whole = resolved(schema)
    if "enum" in whole:
        return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in whole["enum"])
    if "anyOf" in whole or "oneOf" in whole:
        options = whole.get("anyOf") or whole["oneOf"]
        return " or ".join(dict.fromkeys(filter(None, map(_type, options))))
    types = whole.get("type", "")
    return " or ".join([types] if isinstance(types, str) else types) or "any value"


def _default(key: str, schema: dict[str, Any], required: Iterable[str]) -> str:
    if key in required:
        return "required"
    default = resolved(schema).get("default")
    return "" if default is None else f"`{json.dumps(default).strip(chr(34))}`"


def _meaning(schema: dict[str, Any]) -> str:
    return escaped(str(resolved(schema).get("description", "")))


# Codes of findings


def codes_page() -> str:
    """Return the page that lists all codes."""
    rows = [(f"[{code}](codes/{code}.md)", escaped(explanation(code).title)) for code in codes()]
    tree = "\n".join(f"codes/{code}" for code in codes())
    return (
        "# Codes of findings\n\nEach mistake that `pgflow-yaml validate` reports has a code; "
        "`pgflow-yaml explain CODE` prints its page.\n\n"
        f"{table(('Code', 'Finding'), rows)}\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"
    )


def code_pages() -> dict[str, str]:
    """Return one page for each code, by its name: the files that `explain` reads."""
    folder = files("pgflow_yaml.language.codes")
    return {code: (folder / f"{code}.md").read_text(encoding="utf-8") for code in codes()}


# Public Python names


def python_page() -> str:
    """Return the page of all public names of the package, with their signatures."""
    intro = (
        "# Python interface\n\nThese names can be imported from `pgflow_yaml`; everything else may "
        "change. [Use it from Python](../../how-to/python.md) has examples.\n"
    )
    parts = [intro]
    for name in pgflow_yaml.__all__:
        value = getattr(pgflow_yaml, name)
        parts.append(_python_entry("##", name, value))
        parts += [
            _python_entry("###", f"{name}.{method}", function)
            for method, function in vars(value).items()
            if inspect.isfunction(function) and not method.startswith("_")
        ]
    return "\n".join(parts)


def _python_entry(level: str, name: str, value: object) -> str:
    texts = [inspect.getdoc(value)]
    if inspect.isclass(value) and "__init__" in vars(value):
        texts.append(inspect.getdoc(vars(value)["__init__"]))
    text = escaped("\n\n".join(filter(None, texts)))
    if inspect.isclass(value) and issubclass(value, Exception):
        return f"{level} {name}\n\n{text}\n"
    assert callable(value), name
    return f"{level} {name}\n\n```python\n{name}{_signature(value)}\n```\n\n{text}\n"


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    plain = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature))
    plain = plain.replace("(self, ", "(").replace("(self)", "()")
    if len(plain) < LONGEST_LINE:
        return plain
    arguments = re.split(r", (?=\*|\w+:)", plain[1 : plain.rindex(")")])
    return "(\n" + "".join(f"    {a},\n" for a in arguments) + plain[plain.rindex(")") :]


if __name__ == "__main__":
    main()
