"""The examples of the page about the web view: behind nginx, behind single sign-on, mounted."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser import project as flows
from tests.browser.install import nginx
from tests.docs.fenced import ROOT, Block, blocks
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext

    from tests.browser.project import Project

PAGE = ROOT / "docs" / "how-to" / "web.md"
NAME = "flows.example.com"
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def run(project: Project) -> str:
    """A run that waits."""
    project.deploy(flows.ORDER)
    return project.client.start("order").id


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser that nobody knows."""
    with chromium.new_context(ignore_https_errors=True) as opened:
        opened.set_default_timeout(30_000)
        yield opened


def command(containing: str) -> list[str]:
    """The arguments of the example's command."""
    lines = "".join(block.text for block in blocks("sh", [PAGE])).splitlines()
    (line,) = [line for line in lines if containing in line and "--hash" not in line]
    return shlex.split(line)


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Returns a function that starts nginx with an example; its address."""
    started: list[subprocess.Popen[bytes]] = []

    def start(example: Block, ports: dict[str, int]) -> str:
        port, text = free_port(), example.text
        pem, key = tmp_path / "tls.pem", tmp_path / "tls.key"
        words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={NAME}"
        subprocess.run(
            [*words.split(), "-out", pem, "-keyout", key], check=True, capture_output=True
        )
        changes = {"listen 443": f"listen 127.0.0.1:{port}", f"/etc/ssl/{NAME}.pem": f"{pem}"}
        changes |= {f"/etc/ssl/{NAME}.key": f"{key}"}
        changes |= {f"127.0.0.1:{old};": f"127.0.0.1:{new};" for old, new in ports.items()}
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        kept = "".join(
            f"{what}_temp_path {tmp_path}/{what};\n"
            for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = tmp_path / "nginx.conf"
        file.write_text(
            f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/log;\n"
            f"events {{}}\nhttp {{ access_log off;\n{kept}{text}}}\n"
        )
        program = nginx()
        assert program
        started.append(subprocess.Popen([program, "-p", tmp_path, "-c", file]))
        eventually(lambda: listens(port), what="nginx listens")
        return f"https://{NAME}:{port}"

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


def test_behind_nginx(
    project: Project, run: str, proxy: Callable[..., str], context: BrowserContext
) -> None:
    """Ada logs in, sees a run go on by itself, and cancels another one; her cookie needs TLS."""
    hashing = subprocess.run(
        [sys.executable, "-m", "pgflow_yaml", "ui", "--hash"],
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=True,
    )
    (project.folder / "users").write_text(f"ada:operator:{hashing.stdout}")
    project.address = ""
    project.serve(*command("--users")[2:])
    port = urlsplit(project.address).port
    address = proxy(blocks("nginx", [PAGE])[0], {"8420": port})
    page = context.new_page()

    page.goto(f"{address}/runs/{run}")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()

    expect(page).to_have_url(f"{address}/runs/{run}")
    expect(page.locator("#live")).to_have_text("live")
    assert all(cookie["secure"] for cookie in context.cookies())
    expect(page.locator("#steps")).to_contain_text("waiting")
    project.client.approve(run, "release")
    expect(page.locator("#head")).to_contain_text("completed")
    other = project.client.start("order").id
    page.goto(f"{address}/runs/{other}/cancel")
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(".flash")).to_be_visible()


class Knows(BaseHTTPRequestHandler):
    """What oauth2-proxy answers about a browser with its cookie, and about another one."""

    def do_GET(self) -> None:
        """Answer a question of nginx, or show the page that logs in."""
        known = "_oauth2_proxy=ada" in self.headers.get("Cookie", "")
        if self.path != "/oauth2/auth":
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"sign in")
            return
        self.send_response(202 if known else 401)
        if known:
            self.send_header("X-Auth-Request-Email", "ada@example.com")
            self.send_header("X-Auth-Request-Groups", "shop,viewer")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_behind_single_sign_on(
    project: Project, run: str, proxy: Callable[..., str], context: BrowserContext
) -> None:
    """The proxy's user looks; what a browser says about itself counts nothing."""
    project.address = ""
    project.serve(*command("--auth-header")[2:])
    port = urlsplit(project.address).port
    with HTTPServer(("127.0.0.1", 0), Knows) as knows:
        threading.Thread(target=knows.serve_forever, daemon=True).start()
        ports = {"8420": port, "4180": knows.server_port}
        address = proxy(blocks("nginx", [PAGE])[1], ports)
        page = context.new_page()
        context.set_extra_http_headers(
            {"X-Forwarded-User": "eve", "X-Forwarded-Groups": "operator"}
        )

        page.goto(f"{address}/runs/{run}")
        expect(page.locator("body")).to_have_text("sign in")
        context.add_cookies([{"name": "_oauth2_proxy", "value": "ada", "url": address}])
        page.goto(f"{address}/runs/{run}")

        expect(page.locator("footer")).to_contain_text("ada@example.com, viewer")
        expect(page.locator("#live")).to_have_text("live")
        knows.shutdown()


def test_mounted_in_fastapi(project: Project, run: str, context: BrowserContext) -> None:
    """With the users of the application, below its path, live."""
    (example,) = blocks("python", [PAGE])
    (project.folder / "main.py").write_text(example.text)
    port = free_port()
    _, *options, _ = command("uvicorn")
    served = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *options, "--port", f"{port}", "main:app"],
        cwd=project.folder,
        env={"DATABASE_URL": project.database, "ADAS_SESSION": "s3cret"},
    )
    try:
        eventually(lambda: listens(port), what="uvicorn listens")
        address = f"http://127.0.0.1:{port}"
        page = context.new_page()
        refused = page.goto(f"{address}/flows/runs/{run}")
        assert refused is not None
        assert refused.status == 401
        context.add_cookies([{"name": "session", "value": "s3cret", "url": address}])
        page.goto(f"{address}/flows/runs/{run}")
        expect(page.locator("footer")).to_contain_text("ada, operator")
        expect(page.locator("#live")).to_have_text("live")
        page.get_by_role("link", name="Runs", exact=True).click()
        expect(page).to_have_url(f"{address}/flows/")
    finally:
        served.terminate()
        assert served.wait(20) is not None
