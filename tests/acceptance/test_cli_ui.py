"""`pgflow-yaml ui` as a process: what it prints, whom it admits, how it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest

from pgflow_yaml.project.link_key import link_key
from pgflow_yaml.runs.approval_links import Approval, approval_url
from pgflow_yaml.web.access.passwords import hashed
from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path


@pytest.fixture
def shell(tmp_path: Path, database: str) -> Shell:
    """A folder with a named database."""
    return Shell(tmp_path, database)


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def ask(url: str, body: str | None = None, **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of an answer."""
    data = None if body is None else body.encode()
    try:
        with build_opener(_Stay).open(Request(url, data, headers), timeout=20) as reply:
            return reply.status, _lower(reply.headers), reply.read().decode()
    except HTTPError as reply:
        return reply.code, _lower(reply.headers), ""


def _lower(headers: Message) -> dict[str, str]:
    return {key.lower(): value for key, value in headers.items()}


def test_the_link_logs_in_and_a_signal_ends_it(shell: Shell) -> None:
    """Without options: on this machine, by the link that is printed; SIGTERM ends it with 0.

    Links to approvals that a worker of the project has signed need no login.
    """
    shell.write("ask.flow.yaml", "flow: ask\nsteps:\n  go: {wait: {event: go}}\n")
    shell("compile", "ask.flow.yaml")
    asking = Approval(
        run=shell("start", "ask").out.strip(),
        step="go",
        retries=0,
        expires=datetime.now(UTC) + timedelta(hours=1),
    )
    with shell.start("ui", "--port", "0", "--json") as serving:
        try:
            assert serving.stdout is not None
            link = urlsplit(json.loads(serving.stdout.readline())["url"])
            home = f"http://{link.netloc}"
            stranger = ask(f"{home}/")
            entered = ask(f"{home}/login", link.fragment.replace("t=", "token="))
            cookie = entered[1]["set-cookie"].partition(";")[0]
            page = ask(f"{home}/", Cookie=cookie)
            signed = ask(approval_url(home, asking, link_key(shell.folder, {})))
            forged = ask(approval_url(home, asking, b"another key of a worker"))
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(20) == 0
        finally:
            serving.kill()

    assert link.hostname == "127.0.0.1"
    assert (stranger[0], stranger[1]["location"]) == (303, "/login?next=/")
    assert entered[0] == 303
    assert "Secure" not in entered[1]["set-cookie"]
    assert page[0] == 200
    assert "ask" in page[2]
    assert (signed[0], "Your name" in signed[2], forged[0]) == (200, True, 404)
    assert "operator" in page[2]
    assert (shell.folder / ".pgflow" / "ui.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("line", "secure", "told"),
    [
        ("--host 0.0.0.0", True, True),
        ("--host 0.0.0.0 --no-secure", False, False),
        ("--allow-host flows.example.com", True, True),
        ("", False, False),
        ("--secure", True, False),
    ],
)
def test_cookies_of_a_team_go_over_tls(
    shell: Shell, line: str, *, secure: bool, told: bool
) -> None:
    """Unless it is told otherwise; it says so, at an address that is one of this machine."""
    shell.write("users", f"ada:operator:{hashed('correct horse')}\n")
    with shell.start("ui", "--port", "0", "--users", "users", *line.split()) as serving:
        try:
            assert serving.stdout is not None
            assert serving.stderr is not None
            url = serving.stdout.readline().strip()
            entered = ask(f"{url}login", "name=ada&password=correct+horse")
            serving.send_signal(signal.SIGTERM)
            notes = serving.stderr.read()
        finally:
            serving.kill()

    assert urlsplit(url).hostname == "127.0.0.1"
    assert entered[0] == 303
    assert ("Secure" in entered[1]["set-cookie"]) is secure
    assert ("over https only" in notes) is told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--host 0.0.0.0", "lets other machines in"),
        ("--hooks --read-only", "does not go with --read-only"),
        ("--secrets .", "--secrets needs --hooks"),
        ("--host ::", "lets other machines in"),
        ("--host flows.example.com", "lets other machines in"),
        ("--auth-header X-User", "--auth-header needs --trusted-proxy"),
        ("--trusted-proxy 10.0.0.1", "need --auth-header"),
        ("--roles-header X-Roles", "need --auth-header"),
        ("--auth-header X-User --trusted-proxy 10.0.0.0/33", "is no network"),
        ("--users none", "does not exist"),
        ("--users empty --host 0.0.0.0", "has no users"),
        ("--users empty --auth-header X-User", "either --users or --auth-header"),
        ("--host 192.0.2.1 --users empty", "cannot listen there"),
    ],
)
def test_nothing_else_starts(shell: Shell, line: str, words: str) -> None:
    """Exit code 2, and a sentence with the way out."""
    shell.write("empty", "")

    assert words in shell("ui", "--port", "0", *line.split(), expect=2).err


def test_a_password_is_hashed_for_the_file(shell: Shell) -> None:
    """From a pipe; a short one is refused."""
    done = shell("ui", "--hash", stdin="correct horse\n")

    assert re.fullmatch(r"scrypt\$16384\$8\$1\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+\n", done.out)
    assert "8 to 1,000 characters" in shell("ui", "--hash", stdin="short\n", expect=2).err


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """Exit code 3, and nothing of the package needs the extra otherwise."""
    hidden = "sys.modules.update(dict.fromkeys(['jinja2', 'starlette', 'uvicorn']))"
    blind = f"import sys; {hidden}; from pgflow_yaml.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", blind, "ui"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "pip install 'pgflow-yaml[ui]'" in done.stderr
