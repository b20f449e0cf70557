"""Browsers with a session; each page that they show is watched for what no page may do.

These tests need packages of another registry and Chromium: `make test-web` only collects them.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.browser.install import chromium as chromium_program
from tests.browser.project import Project
from tests.fixtures.pg import _fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

    from pgflow_yaml.database.embedded import LocalServer

collect_ignore_glob = [] if os.environ.get("PGFLOW_YAML_WEB") else ["test_*.py"]
WIDE: Any = {"width": 1280, "height": 900}
PHONE: Any = {"width": 375, "height": 800}
_PATIENCE = 30_000.0


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser of the system, without a window."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_PATIENCE)
    program = chromium_program()
    assert program, "make test-web installs Chromium"
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    quiet += ["--host-resolver-rules=MAP *.example.com 127.0.0.1"]
    quiet += ["--no-sandbox"] if os.geteuid() == 0 else []  # root has no sandbox
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=quiet)
        yield browser
        browser.close()


@dataclass
class Visits:
    """Contexts of one browser at one site, all with its session; what they did wrong is kept."""

    browser: Browser
    address: str
    session: Any
    wrong: list[str] = field(default_factory=list)
    """Lines of the console, and requests to other hosts."""
    tolerated: tuple[str, ...] = ()
    """What lines of the console may contain: a test that kills the server makes some."""

    @contextmanager
    def open(self, **settings: Any) -> Iterator[BrowserContext]:
        """Open a context; its pages are watched."""
        settings = {"viewport": WIDE, "storage_state": self.session, **settings}
        context = self.browser.new_context(base_url=self.address, **settings)
        context.set_default_timeout(_PATIENCE)
        context.on("page", self._watch)
        try:
            yield context
        finally:
            context.close()

    def _watch(self, page: Page) -> None:
        def said(kind: str, text: str) -> None:
            if not any(words in text for words in self.tolerated):
                self.wrong.append(f"{kind} at {page.url}: {text}")

        def asked(url: str) -> None:
            if urlsplit(url).netloc != urlsplit(self.address).netloc:
                said("foreign request", url)

        page.on("console", lambda line: said("console", line.text))
        page.on("pageerror", lambda error: said("error", str(error)))
        page.on("request", lambda request: asked(request.url))


@pytest.fixture(scope="module")
def make_project(
    server: LocalServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Project]]:
    """Returns a function that makes a project with a database of its own."""
    databases, made = [], list[Project]()

    def make() -> Project:
        databases.append(_fresh(server, template))
        made.append(Project(tmp_path_factory.mktemp("project"), next(databases[-1])))
        return made[-1]

    yield make
    for project in made:
        project.close()
    for database in databases:
        next(database, None)


def enter(chromium: Browser, project: Project, *arguments: str) -> Visits:
    """Serve a project and log in by the link, as a person does."""
    link = project.serve(*arguments)
    context = chromium.new_context()
    page = context.new_page()
    page.goto(link)
    page.wait_for_url(f"{project.address}/")
    session = context.storage_state()
    context.close()
    return Visits(chromium, project.address, session)


@pytest.fixture(scope="module")
def project(make_project: Callable[[], Project]) -> Project:
    """A project with a worker."""
    made = make_project()
    made.work()
    return made


@pytest.fixture(scope="module")
def visited(chromium: Browser, project: Project) -> Visits:
    """The pages of the project, for all tests of a module."""
    return enter(chromium, project)


@pytest.fixture
def visits(visited: Visits) -> Iterator[Visits]:
    """The pages of the project; the console stays empty, and no other host is asked."""
    visited.wrong.clear()
    yield visited
    tolerated, visited.tolerated = visited.tolerated, ()
    assert visited.wrong == [], tolerated


@pytest.fixture
def page(visits: Visits) -> Iterator[Page]:
    """A tab of the project's pages."""
    with visits.open() as context:
        yield context.new_page()


@pytest.fixture
def db(project: Project) -> Iterator[psycopg.Connection]:
    """A connection to the project's database."""
    with psycopg.connect(project.database, autocommit=True) as connection:
        yield connection
