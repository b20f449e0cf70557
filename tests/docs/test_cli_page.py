"""`docs/reference/cli.md` and the commands in all pages against the command line."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import TYPE_CHECKING, Any

import click
import pytest

from pgflow_yaml.cli.app import app
from pgflow_yaml.runs.events import Event
from pgflow_yaml.runs.snapshot import FailedAttempt
from tests.docs.fenced import GENERATED, PAGES, ROOT, blocks
from tests.fixtures import forks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
CALL = re.compile(r"^(?:pgflow-yaml|\.venv/bin/pgflow-yaml) .*$", re.MULTILINE)
INLINE = re.compile(r"`(pgflow-yaml [^`]+)`")
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def calls() -> list[str]:
    """Every call of the command in the pages, in blocks and in running text."""
    in_blocks = [line for block in blocks("sh") for line in CALL.findall(block.text)]
    in_text = [line for page in PAGES for line in INLINE.findall(page.read_text(encoding="utf-8"))]
    return sorted({line.partition(" #")[0].strip() for line in in_blocks + in_text})


@pytest.mark.parametrize("line", calls())
def test_every_call_in_the_docs_parses(line: str) -> None:
    """The command and the options of each line exist: with --help behind it, it is accepted."""
    words = [word for word in shlex.split(line)[1:] if word not in {"FILE…", "…"}]

    command = app.get_command(click.Context(app), words[0])

    assert command is not None or words[0] == "COMMAND"
    if command is not None:
        with pytest.raises(click.exceptions.Exit):
            command.make_context(words[0], [*words[1:], "--help"])


def test_every_link_leads_somewhere() -> None:
    """A relative link names a file or a folder of the project."""
    links = [(page, link) for page in PAGES for link in LINK.findall(page.read_text())]
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page, link in links
        if "://" not in link
        and GENERATED not in (page.parent / link).resolve().parents
        and not (page.parent / link).exists()
    ]

    assert links
    assert broken == []


def documented(command: str) -> set[str]:
    """The names in a command's shape; an array's are its elements'."""
    form = rf"^\| `{command}`(?:, `\w+`)? \| (?:array of )?`\{{([^`]*)\}}`"
    row = re.search(form, PAGE, re.MULTILINE)
    assert row is not None, command
    return set(re.findall(r'"(\w+)"', row[1]))


def names_of(value: Any) -> set[str]:
    """The names of an object, or of the first element of an array."""
    return set(value[0] if isinstance(value, list) else value)


def all_names_of(value: Any) -> set[str]:
    """The names of an object and of all that is in it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(value if isinstance(value, dict) else (), *map(all_names_of, inner))


@pytest.mark.timeout(180)  # twenty processes
def test_the_json_shapes_are_those_of_the_page(database: str, tmp_path: Path) -> None:
    """Each command gives exactly the names that the page lists."""
    file = tmp_path / "shapes.yaml"
    file.write_text("flow: shapes\nsteps:\n  one: {wait: {event: heard}}\n")
    (tmp_path / "warned.yaml").write_text(
        "flow: warned\nsteps:\n  one: {handler: app.one, with: {version: 3.10}}\n"
    )

    def result(*words: str) -> Any:
        env = {**os.environ, "DATABASE_URL": database}
        code, out, err = forks.run([*words, "--json"], cwd=tmp_path, env=env, seconds=50)
        assert code == (words[0] == "doctor"), err  # the server is not durable
        return json.loads(out)

    compiled = result("compile", str(file))
    shapes = {
        "init": result("init", "new"),
        "migrate": result("migrate"),
        "graph": result("graph", str(file)),
        "plan": result("plan", str(file)),
        "diff": result("diff", str(file)),
        "explain": result("explain", "PF203"),
        "compile": compiled,
        "activate": result("activate", "shapes", compiled[0]["version"]),
        "start": result("start", "shapes"),
        "approve": result("approve", "last", "one"),
        "worker": result("worker", "--burst"),
        "send": result("send", result("start", "shapes")["run_id"], "heard"),
        "runs": result("runs"),
        "flows": result("flows"),
        "queues": result("queues"),
        "workers": result("workers", "--all"),
        "doctor": result("doctor"),
        "versions": result("versions", "shapes"),
    }
    shown = result("show", "last")
    shapes["cancel"] = result("cancel", "last")
    shapes["retry --detach"] = result("retry", "last", "--from", "one", "--yes", "--detach")
    result("start", "shapes")
    result("reject", "last", "one")
    shapes["failed"] = result("failed")
    shapes["failed retry"] = result("failed", "retry", "--yes")

    assert {name: names_of(shape) for name, shape in shapes.items()} == {
        name: documented(name) for name in shapes
    }
    assert all_names_of(result("validate", "warned.yaml")) == documented("validate")
    example = json.loads(blocks("json", [ROOT / "docs" / "reference" / "cli.md"])[0].text)
    assert set(shown) == set(example)
    assert set(shown["run"]) == set(example["run"])
    assert set(shown["steps"][0]) == set(example["steps"][0])
    assert set(example["errors"][0]) == FailedAttempt.__annotations__.keys()


def test_every_name_in_an_event_is_described() -> None:
    """In the row of `run` and `watch`, or in the text below the table."""
    row = PAGE.partition("| `run`, `watch`, before the last line |")[2].partition("\n")[0]
    below = PAGE.partition("What an event adds:")[2]

    assert set(Event.__annotations__) <= set(re.findall(r"[`\"](\w+)[`\"]", row + below))
