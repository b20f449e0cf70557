"""Write: run the cases of test files in virtual time."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pgflow_yaml.cli.diagnostics import (
    diagnostic_shape,
    frame,
    in_github,
    of_error,
    write_github,
    write_text,
)
from pgflow_yaml.cli.failures import BAD
from pgflow_yaml.cli.live.symbols import symbols_for
from pgflow_yaml.cli.logs import set_up_logs
from pgflow_yaml.cli.options import Options, command, import_options, pass_options
from pgflow_yaml.cli.output import write_file, write_json
from pgflow_yaml.cli.streams import keep_stdout_for_results, result_stream
from pgflow_yaml.project.database import project_dir
from pgflow_yaml.project.files import FlowFile
from pgflow_yaml.project.settings import local_settings
from pgflow_yaml.testing.running import Player, find_tests, prepare
from pgflow_yaml.text import duration, one_line, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.errors import Diagnostic
    from pgflow_yaml.testing.model import Case
    from pgflow_yaml.testing.running import Result, TestedFile


@command("test", example="pgflow-yaml test")
@click.argument("paths", metavar="[FILE or DIR]...", nargs=-1)
@click.option(
    "-k", "expression", metavar="EXPR", help="Only cases that match: `card and not slow`."
)
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Also write a report as JUnit XML.",
)
@click.option("--watch", is_flag=True, help="Test again whenever a file changes.")
@import_options
@pass_options
def test_command(
    options: Options,
    *,
    paths: Sequence[str],
    expression: str | None,
    junit: Path | None,
    watch: bool,
    app_dir: Path | None,
    allow: Sequence[str],
) -> int:
    """Run the cases of test files in virtual time, on a database of their own.

    Without paths, run every *.test.yaml file below this folder. Mocks replace handlers.
    """
    paths = paths or (".",)
    if watch:
        _watch(paths, app_dir or Path(), options)
    request = Request(paths=paths, expression=expression, junit=junit, app_dir=app_dir, allow=allow)
    return _test(request, options)


def _watch(paths: Sequence[str], app_dir: Path, options: Options) -> NoReturn:
    """Test again whenever a file of the folders changes; the server keeps running meanwhile."""
    from pgflow_yaml.cli.rerunning import rerun_on_change
    from pgflow_yaml.testing.databases import project_databases

    folders = [path if path.is_dir() else path.parent for path in map(Path, paths)]
    with project_databases(project_dir(Path.cwd())):
        rerun_on_change([*folders, app_dir], options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Arguments of `test`."""

    paths: Sequence[str]
    expression: str | None
    junit: Path | None
    app_dir: Path | None
    allow: Sequence[str]


def _test(request: Request, options: Options) -> int:
    """Execute the command and return the exit code."""
    from pgflow_yaml.testing.choosing import chooser

    chosen = chooser(request.expression)
    paths = find_tests(request.paths)
    if not paths:
        where = ", ".join("this folder" if path == "." else path for path in request.paths)
        raise click.UsageError(f"there is no *.test.yaml in {one_line(where)}")
    set_up_logs(options)
    keep_stdout_for_results()
    began = time.monotonic()
    tested = [prepare(path) for path in paths]
    results = _play_all(tested, request, options, chosen=chosen)
    seconds = time.monotonic() - began
    if request.junit is not None:
        from pgflow_yaml.testing.junit import junit_xml

        write_file(request.junit, junit_xml(results, seconds))
    if options.json:
        write_json({"files": [_shape(file, cases) for file, cases in results]})
    else:
        _write_summary(results, seconds)
    return BAD if any(_is_bad(file, cases) for file, cases in results) else 0


def _play_all(
    tested: Sequence[TestedFile], request: Request, options: Options, *, chosen: Any
) -> list[tuple[TestedFile, list[Result]]]:
    settings = local_settings(app_dir=request.app_dir, allow=request.allow)
    plans: list[tuple[TestedFile, list[Case]]] = [
        (file, [case for case in file.suite.cases if chosen(file.file, case.name)])
        if file.suite
        else (file, [])
        for file in tested
    ]
    if not any(cases for _, cases in plans):
        for file, _ in plans:
            _write_findings(file, options)
        return [(file, []) for file, _ in plans]
    from pgflow_yaml.testing.databases import project_databases
    from pgflow_yaml.worker.streams import handler_streams

    results = []
    with project_databases(project_dir(Path.cwd())) as databases:
        for file, cases in plans:
            _write_findings(file, options)
            played: list[Result] = []
            if cases:
                with Player(file, databases, settings) as player:
                    for case in cases:
                        # A stream that a handler closes stays open.
                        with handler_streams():
                            played.append(player.play(case))
                        _write_result(file, played[-1], options)
            results.append((file, played))
    return results


def _write_findings(tested: TestedFile, options: Options) -> None:
    """Write the findings about a test file, or about its flow."""
    if options.json:
        return
    files = list(of_error(tested.flow_error)) if tested.flow_error else []
    if tested.diagnostics:
        files.append(_loaded(tested, tested.diagnostics))
    if files and in_github():
        write_github(files, sys.stderr)
    elif files:
        write_text(files, options)


def _write_result(tested: TestedFile, result: Result, options: Options) -> None:
    if options.json or (options.quiet and result.passed):
        return
    out = result_stream()
    symbols = symbols_for(out.encoding)
    colored = options.colored(out)
    sign = symbols.status["completed" if result.passed else "failed"]
    if colored:
        sign = click.style(sign, fg="green" if result.passed else "red", bold=True)
    name = one_line(f"{tested.file} {result.name}")
    out.write(f"{sign} {name}  {duration(result.seconds)}\n")
    if not result.passed and in_github():
        write_github([_loaded(tested, result.diagnostics)], out)
    for finding in () if result.passed else result.diagnostics:
        text = frame(finding, _loaded(tested, ()), out, options=options)
        out.write("".join(f"  {line}".rstrip() + "\n" for line in text.split("\n")) + "\n")
    out.flush()


def _write_summary(results: Sequence[tuple[TestedFile, Sequence[Result]]], seconds: float) -> None:
    played = [result for _, cases in results for result in cases]
    failed = sum(not result.passed for result in played)
    broken = sum(bool(file.diagnostics or file.flow_error) for file, _ in results)
    parts = [f"{len(played) - failed} passed"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{plural(broken, 'file')} with mistakes"] if broken else []
    result_stream().write(f"{', '.join(parts)} in {duration(seconds)}\n")


def _is_bad(tested: TestedFile, results: Sequence[Result]) -> bool:
    return bool(
        tested.diagnostics or tested.flow_error or any(not result.passed for result in results)
    )


def _loaded(tested: TestedFile, findings: Sequence[Diagnostic]) -> FlowFile:
    return FlowFile(file=tested.file, source=tested.source, diagnostics=findings, definition=None)


def _shape(tested: TestedFile, results: Sequence[Result]) -> dict[str, Any]:
    findings = [
        {"file": tested.file, **diagnostic_shape(finding)} for finding in tested.diagnostics
    ]
    if tested.flow_error is not None:
        error = tested.flow_error
        findings += [
            {"file": error.file, **diagnostic_shape(finding)} for finding in error.diagnostics
        ]
    return {
        "file": tested.file,
        "flow": tested.flow.definition.name if tested.flow else None,
        "diagnostics": findings,
        "cases": [
            {
                "name": result.name,
                "status": "passed" if result.passed else "failed",
                "seconds": round(result.seconds, 4),
                "diagnostics": [diagnostic_shape(finding) for finding in result.diagnostics],
            }
            for result in results
        ],
    }
