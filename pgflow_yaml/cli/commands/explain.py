"""Write: explain the code of a finding, with an example."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pgflow_yaml.cli.options import Options, command, pass_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgflow_yaml.language.codes import Explanation


def _codes(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Complete a code in the shell."""
    from pgflow_yaml.language.codes import codes

    return [code for code in codes() if code.startswith(begun.upper())]


@command("explain", example="pgflow-yaml explain PF203")
@click.argument("code", required=False, shell_complete=_codes)
@pass_options
def explain_command(options: Options, *, code: str | None) -> None:
    """Explain the code of a finding, with an example; without CODE, list all codes."""
    from pgflow_yaml.cli.output import Column, write_json, write_lines, write_list
    from pgflow_yaml.language.codes import codes, explanation

    if code is None:
        listed = [{"code": name, "title": explanation(name).title} for name in codes()]
        columns = [
            (Column("CODE"), lambda row: row["code"]),
            (Column("MEANING", flexible=True), lambda row: row["title"]),
        ]
        write_list(listed, columns, options)
        return
    name = _known(code, codes())
    entry = explanation(name)
    if options.json:
        parts = {"title": entry.title, "text": entry.text, "bad": entry.bad, "good": entry.good}
        write_json({"code": name, **parts})
        return
    write_lines(_page(name, entry), sys.stdout, options)


def _known(code: str, codes: list[str]) -> str:
    """Return a code in its full form, for any of PF203, pf203, 203; raises NotFound."""
    from pgflow_yaml.errors import NotFound
    from pgflow_yaml.language.suggestions import closest

    name = code.upper()
    name = f"PF{name}" if name.isdecimal() else name
    if name not in codes:
        near = closest(name, codes)
        hint = f'did you mean "{near}"?' if near else "`pgflow-yaml explain` lists them"
        raise NotFound(f'there is no code "{code}"; {hint}')
    return name


def _page(code: str, entry: Explanation) -> Iterator[list[tuple[str, str]]]:
    import shutil

    from pgflow_yaml.text import wrapped

    width = min(shutil.get_terminal_size().columns, 100) if sys.stdout.isatty() else 100
    yield from ([(line, "bold")] for line in wrapped(f"{code}  {entry.title}", width))
    for paragraph in entry.text.split("\n\n"):
        yield [("", "")]
        yield from ([(line, "")] for line in wrapped(paragraph, width))
    for label, example, color in (("wrong", entry.bad, "red"), ("right", entry.good, "green")):
        yield [("", "")]
        yield [(f"{label}:", color)]
        yield from ([(f"  {line}", "")] for line in example.rstrip("\n").split("\n"))
