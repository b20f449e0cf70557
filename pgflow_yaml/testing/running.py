"""Run test files: find, read and check them, play their cases, compare the results."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pgflow_yaml.database.store import Store
from pgflow_yaml.errors import Diagnostic, InvalidFlow, InvalidInput, NotFound, PgflowError
from pgflow_yaml.language.inputs import problems_of
from pgflow_yaml.project import files
from pgflow_yaml.testing.calling import NoHandler
from pgflow_yaml.testing.checks import misfits
from pgflow_yaml.testing.driver import Driver
from pgflow_yaml.testing.expectations import differences
from pgflow_yaml.testing.flows import Library, mocks_by_flow, with_stand_ins
from pgflow_yaml.testing.reading import read_suite
from pgflow_yaml.testing.ticking import NoTick, fired, scheduled
from pgflow_yaml.worker.calls import Handlers, to_json_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgflow_yaml.language.model import Definition
    from pgflow_yaml.project.settings import Settings
    from pgflow_yaml.testing.databases import Databases
    from pgflow_yaml.testing.driver import Played
    from pgflow_yaml.testing.flows import Flow
    from pgflow_yaml.testing.model import Case, Suite

NO_TICK, NO_FLOW, REFUSED, NO_HANDLER, NOT_DONE = "PF504", "PF507", "PF508", "PF509", "PF510"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Result of one case: its duration, and a finding for each difference."""

    name: str
    seconds: float
    diagnostics: Sequence[Diagnostic] = ()

    @property
    def passed(self) -> bool:
        """True when the run was as expected."""
        return not self.diagnostics


@dataclass(slots=True, kw_only=True)
class TestedFile:
    """Test file: the suite to play, or the findings about the file."""

    __test__ = False  # pytest must not collect this class

    file: str
    source: str
    diagnostics: Sequence[Diagnostic] = ()
    suite: Suite | None = None
    flow: Flow | None = None
    family: Mapping[str, Flow] = field(default_factory=dict)
    flow_error: InvalidFlow | None = None
    """The mistakes of a flow file that the test needs."""


def find_tests(paths: Sequence[str]) -> list[Path]:
    """Return the test files among the paths, and those below the folders among them, sorted."""
    test_files: dict[Path, None] = {}
    for text in paths:
        path = Path(text)
        if path.is_dir():
            below = (file for file in path.rglob("*.test.yaml") if not _hidden(file, path))
            test_files.update(dict.fromkeys(sorted(below)))
        else:
            test_files[path] = None
    return list(test_files)


def prepare(path: Path, content: bytes | None = None) -> TestedFile:
    """Return a test file with its flows; raises NotFound when the test file does not exist.

    `content` is read in place of the file, such as the text of an editor.
    """
    read = read_suite(files.read(path) if content is None else content, file=str(path))
    tested = TestedFile(file=str(path), source=read.source, diagnostics=read.diagnostics)
    suite = read.suite
    if suite is None:
        return tested
    library = Library(path, suite.files)
    try:
        tested.flow = library.main(suite.flow)
        tested.family = library.family(tested.flow, [case.mocks for case in suite.cases])
    except NotFound as error:
        span = suite.document.span(suite.flow_node)
        tested.diagnostics = [Diagnostic(code=NO_FLOW, message=error.message, span=span)]
        return tested
    except InvalidFlow as error:
        tested.flow_error = error
        return tested
    tested.diagnostics = misfits(suite, tested.flow, tested.family)
    if not tested.diagnostics:
        tested.suite = suite
    return tested


class Player:
    """Player of the cases of a test file, one after another, in a database of their own."""

    def __init__(self, tested: TestedFile, databases: Databases, settings: Settings) -> None:
        assert tested.suite is not None
        assert tested.flow is not None
        self._tested, self._document, self._flow = tested, tested.suite.document, tested.flow
        self._databases = databases
        self._handlers = Handlers(settings.app_dir, settings.allow, settings.handlers)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Create the database."""
        conninfo = self._open.enter_context(self._databases.fresh())
        self._store = self._open.enter_context(Store(conninfo, name="pgflow-yaml test"))
        self._driver = Driver(store=self._store, handlers=self._handlers)
        self._used_up = self._has_played = False
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the database."""
        self._open.close()

    def play(self, case: Case) -> Result:
        """Return the result of one case; after a run that did not end the database is new."""
        began = time.monotonic()
        # a tick has one run in a database, and other cases deploy without the schedule
        if self._used_up or (case.at is not None and self._has_played):
            self._open.close()
            self.__enter__()
        self._used_up = self._has_played = True
        findings = self._findings(case)
        return Result(name=case.name, seconds=time.monotonic() - began, diagnostics=findings)

    def _findings(self, case: Case) -> Sequence[Diagnostic]:
        at = self._document.span(case.node)
        try:
            played = self._played(case)
        except InvalidInput as error:
            span = self._document.span(case.input_node or case.node)
            return [
                Diagnostic(
                    code=REFUSED,
                    message=f"the flow refuses this input: {_text(problem)}",
                    span=span,
                )
                for problem in error.problems
            ]
        except NoTick as error:
            span = self._document.span(case.at_node or case.node)
            return [Diagnostic(code=NO_TICK, message=error.message, span=span)]
        except NoHandler as error:
            fix = f"add `{error.step}: {{output: …}}` to the mocks of the case"
            return [Diagnostic(code=NO_HANDLER, message=error.message, span=at, help=fix)]
        except PgflowError as error:
            return [Diagnostic(code=NOT_DONE, message=error.message, span=at)]
        self._used_up = played.stuck is not None or case.at is not None
        return differences(case, played, self._document)

    def _played(self, case: Case) -> Played:
        definition = with_stand_ins(self._flow, case.mocks)
        if case.at is None:
            problems = problems_of(definition.body, case.input)
            if problems:
                raise InvalidInput(problems=problems)
        below = mocks_by_flow(self._flow, case.mocks, self._tested.family)
        for name, child in self._tested.family.items():
            if name != definition.name:
                self._store.deploy(with_stand_ins(child, below.get(name, {})))
        if case.at is None:
            self._store.deploy(definition)
            return self._driver.play(case, lambda: self._started(definition, case))
        spec = scheduled(self._flow.definition, case.at)
        self._store.deploy(replace(definition, body={**definition.body, "schedule": [spec]}))
        return self._driver.play(case, lambda: fired(self._store, definition.name, spec, case.now))

    def _started(self, definition: Definition, case: Case) -> str:
        started = self._store.start_run(
            definition.name, to_json_text(case.input), version=definition.version
        )
        return str(started["run_id"])


def _text(problem: Mapping[str, str]) -> str:
    path = problem.get("path")
    return f"{path}: {problem['message']}" if path else problem["message"]


def _hidden(path: Path, below: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(below).parts[:-1])
