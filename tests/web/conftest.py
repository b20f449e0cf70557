"""Sites to ask: the pages of a database, and browsers with a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from pgflow_yaml.web import WebView, create_app
from pgflow_yaml.web.access.passwords import hashed
from pgflow_yaml.web.access.sessions import cookie_name
from pgflow_yaml.web.access.signing import Signer
from pgflow_yaml.web.access.users import UsersFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgflow_yaml.web.access import Authorize
    from tests.fixtures.working import Works

PASSWORD = "open sesame"
ADDRESS = "http://127.0.0.1"
COOKIE = cookie_name(Signer(bytes(32)))


def browser(app: WebView, **settings: Any) -> TestClient:
    """A browser that follows no redirect and has no session."""
    return TestClient(app, base_url=ADDRESS, follow_redirects=False, **settings)


@dataclass(frozen=True, slots=True)
class Site:
    """The pages with users of a file: vera is a viewer, otto an operator."""

    app: WebView
    way: UsersFile

    def browser(self, name: str | None = None) -> TestClient:
        """A browser; with a name, it has a new session of this user."""
        found = browser(self.app)
        if name:
            found.cookies.set(COOKIE, self.way.begin(name))
        return found

    def token(self, asking: TestClient) -> str:
        """The token that the forms of a browser's session hold."""
        scope = {"type": "http", "headers": [(b"cookie", _cookie(asking))]}
        session = self.way.session(scope)
        assert session is not None
        return self.app.state.signer.mac("form", f"session {session.id}")

    def post(self, asking: TestClient, path: str, headers: Any = None, **form: str) -> Any:
        """The answer to a form of this browser's own page."""
        return asking.post(path, data={"token": self.token(asking), **form}, headers=headers)


def _cookie(asking: TestClient) -> bytes:
    return f"{COOKIE}={asking.cookies[COOKIE]}".encode()


@pytest.fixture(scope="session")
def password_hash() -> str:
    """The hash of PASSWORD, computed once."""
    return hashed(PASSWORD)


@pytest.fixture
def users(tmp_path: Path, password_hash: str) -> Path:
    """A file of users."""
    file = tmp_path / "users"
    lines = [f"vera:viewer:{password_hash}", f"otto:operator,finance:{password_hash}"]
    file.write_text("# who may come in\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def make_site(users: Path) -> Iterator[Callable[..., Site]]:
    """Returns a function that makes a site for a client or a connection string."""
    made: list[WebView] = []

    def make(database: Any, **settings: Any) -> Site:
        signer = Signer(bytes(32))
        way = UsersFile(signer, users)
        app = create_app(database, authorize=way, key=bytes(32), secure=False, **settings)
        made.append(app)
        return Site(app, way)

    yield make
    for app in made:
        app.close()


@pytest.fixture
def make_app() -> Iterator[Callable[..., WebView]]:
    """Returns a function that makes an application with a way in of the test."""
    made: list[WebView] = []

    def make(authorize: Authorize, database: Any = "host=/nowhere", **settings: Any) -> WebView:
        made.append(create_app(database, authorize=authorize, secure=False, **settings))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def site(works: Works, make_site: Callable[..., Site]) -> Site:
    """The pages of a fresh database."""
    return make_site(works.client)


@pytest.fixture
def run(works: Works) -> str:
    """The id of a run that waits for an event."""
    works.deploy("flow: release\nsteps:\n  go_live: {wait: {event: go_live}}\n")
    return works.client.start("release", key="r-1", labels={"team": "ml"}).id
