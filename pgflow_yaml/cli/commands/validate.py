"""Write: check flow files and show every mistake with its position."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from pgflow_yaml.cli.failures import BAD
from pgflow_yaml.cli.options import Options, command, import_options, pass_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgflow_yaml.project.files import FlowFile


@command("validate", example="pgflow-yaml validate hello.flow.yaml --import")
@click.argument("files", metavar="FILE or FOLDER...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "github", "json")),
    help="Format of the findings.",
)
@click.option(
    "--import", "import_", is_flag=True, help="Also import the handlers and check that they fit."
)
@click.option("--watch", is_flag=True, help="Check again whenever a file is saved.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@import_options
@pass_options
def validate_command(
    options: Options,
    *,
    files: Sequence[str],
    form: str | None,
    import_: bool,
    watch: bool,
    strict: bool,
    app_dir: Path | None,
    allow: Sequence[str],
) -> int:
    """Check flow files and *.test.yaml files, and show every mistake with its position.

    Of a folder, check every such file below it.
    """
    from pgflow_yaml.cli import diagnostics
    from pgflow_yaml.cli.output import needs_line, write_json
    from pgflow_yaml.cli.streams import keep_stdout_for_results, result_stream
    from pgflow_yaml.project.files import in_folders, is_test
    from pgflow_yaml.project.flow_set import FlowSet
    from pgflow_yaml.project.settings import local_settings
    from pgflow_yaml.text import one_line, plural

    watched, files = files, in_folders(files)
    if watch:
        _watch(watched, [app_dir or Path()] if import_ or app_dir or allow else [], options)
    settings = local_settings(app_dir=app_dir, allow=allow)
    importing = import_ or bool(app_dir or allow)
    if importing:
        keep_stdout_for_results()
    flows = FlowSet.load(file for file in files if not is_test(file))
    checked = flows.check(handlers=settings if importing else None)
    loaded = list((checked if importing else checked.with_hidden(settings)).files)
    named = {file.file for file in loaded}
    tests = _load_tests([file for file in files if is_test(file)])
    loaded += [file for file in tests if file.file not in named]
    out = result_stream()
    bad = any(file.errors or (strict and file.diagnostics) for file in loaded)
    if options.json or form == "json":
        write_json({"files": [diagnostics.shape(file) for file in loaded]})
    elif form == "github" or (form is None and diagnostics.in_github()):
        diagnostics.write_github(loaded, out)
    elif any(file.diagnostics for file in loaded):
        diagnostics.write_text(loaded, options)
    if not bad and form in {None, "text"} and not options.json and not options.quiet:
        for file in loaded:
            if file.definition:
                steps = plural(len(file.definition.order), "step")
                out.write(f"{one_line(file.file)}: {file.definition.name}, {steps}, valid\n")
                if file.needed:
                    out.write(f"  {needs_line(file.needed)}\n")
            elif is_test(file.file):
                out.write(f"{one_line(file.file)}: valid, not played (pgflow-yaml test)\n")
    return BAD if bad else 0


def _load_tests(files: Sequence[str]) -> list[FlowFile]:
    """Return test files with their findings, and their flows if these are invalid."""
    from pgflow_yaml.cli.diagnostics import of_error
    from pgflow_yaml.project.files import FlowFile
    from pgflow_yaml.testing.running import prepare

    loaded: dict[str, FlowFile] = {}
    for file in files:
        tested = prepare(Path(file))
        if tested.flow_error is not None:
            loaded |= {flow.file: flow for flow in of_error(tested.flow_error)}
        loaded[file] = FlowFile(
            file=file, source=tested.source, diagnostics=tested.diagnostics, definition=None
        )
    return list(loaded.values())


def _watch(files: Sequence[str], folders: Sequence[Path], options: Options) -> NoReturn:
    """Check again whenever a file, or a handler in the folders, changes; raises NotFound first."""
    from pgflow_yaml.cli.rerunning import rerun_on_change
    from pgflow_yaml.project.files import in_folders, read

    for file in in_folders(files):
        read(file)
    rerun_on_change([*map(Path, files), *folders], options, clear=True)
