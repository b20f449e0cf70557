"""`docs/how-to/be-told.md`: its commands work, and its handlers reach servers that listen here."""

from __future__ import annotations

import email
import email.policy
import json
import re
import socketserver
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

from pgflow_yaml.project.link_key import link_key
from pgflow_yaml.runs.approval_links import verify
from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, blocks, everything

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = ROOT / "docs" / "how-to" / "be-told.md"
TEMPLATE = ROOT / "pgflow_yaml" / "templates" / "alert"
COMMENTED = re.compile(r"^  #(?: (.*))?$", re.MULTILINE)


class Posts(BaseHTTPRequestHandler):
    """A server that keeps what is posted; the first request to /hook is not answered well."""

    def __init__(self, posts: list[tuple[str, str, Any]], *arguments: Any) -> None:
        self.posts = posts
        super().__init__(*arguments)

    def do_POST(self) -> None:
        """Keep the path, the key and the body."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_first = not self.posts
        self.posts.append((self.path, self.headers["Idempotency-Key"], body))
        self.send_response(503 if is_first and self.path == "/hook" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Mails(socketserver.StreamRequestHandler):
    """A server that speaks as much SMTP as it takes to be given a mail."""

    def __init__(self, mails: list[str], *arguments: Any) -> None:
        self.mails = mails
        super().__init__(*arguments)

    def handle(self) -> None:
        """Answer line by line."""
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.mails.append(b"".join(lines).decode())
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")


@contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[int]:
    """The port of a server that runs in a thread."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_commands_tell_of_a_failure(tmp_path: Path, database: str) -> None:
    """Those of the first block, in order; the last one prints what the page shows."""
    shell = Shell(tmp_path, database)
    first, shown = blocks("sh", [FILE])[0], FILE.read_text().partition("\n```\nnightly")[2]
    for line in first.text.splitlines()[:-1]:
        program, *words = line.split()
        assert program == "pgflow-yaml"
        shell(*words)

    assert first.text.splitlines()[-1] == "cat .pgflow/out/alerts.txt"
    told = (tmp_path / ".pgflow/out/alerts.txt").read_text()
    assert told == "nightly" + shown.partition("```")[0]


def test_the_three_handlers_reach_their_servers(tmp_path: Path, database: str) -> None:
    """A webhook that answers at the second try, a channel and a mail, from the page's flow."""
    posts: list[tuple[str, str, Any]] = []
    mails: list[str] = []
    shell = Shell(tmp_path, database)
    shell("init", "--template", "alert")
    with (
        serving(HTTPServer(("127.0.0.1", 0), partial(Posts, posts))) as http,
        serving(socketserver.TCPServer(("127.0.0.1", 0), partial(Mails, mails))) as smtp,
    ):
        flow, _ = (block.text for block in blocks("yaml", [FILE]))
        text = flow.replace("port: 25", f"port: {smtp}").replace("localhost", "127.0.0.1")
        shell.write("alert.flow.yaml", text.replace("retry: 5", "retry: {base_delay: 10ms}"))
        shell("compile", "alert.flow.yaml", "nightly.flow.yaml")
        run = shell("start", "nightly", "--input", "broken=true").out.strip()
        worker = Shell(
            tmp_path,
            database,
            {
                "PGFLOW_YAML_SECRET_ALERT_URL": f"http://127.0.0.1:{http}/hook",
                "PGFLOW_YAML_SECRET_SLACK_HOOK": f"http://127.0.0.1:{http}/slack",
            },
        )
        for _ in range(3):
            worker("worker", "--burst")

    (alert,) = shell("runs", "--flow", "alert", "--json").json
    assert alert["status"] == "completed"
    hooks = [(key, body) for path, key, body in posts if path == "/hook"]
    assert {body["run"] for _, body in hooks} == {run}
    assert hooks[-1][1]["error"]["message"] == "a row is broken"
    assert len({key for key, _ in hooks}) == 1
    (said,) = (body for path, _, body in posts if path == "/slack")
    assert said == {"text": "nightly has failed: a row is broken"}
    (mail,) = (email.message_from_string(each, policy=email.policy.default) for each in mails)
    assert (mail["subject"], mail["to"]) == ("nightly failed", "on-call@example.com")
    assert f"pgflow-yaml show {run}" in mail.get_content()


def test_the_page_shows_the_functions_of_the_template() -> None:
    """Word for word."""
    shown, _ = (block.text for block in everything(FILE) if block.language == "python")

    assert shown.partition("\n\n\n")[2].strip() in (TEMPLATE / "alert_handlers.py").read_text()


def test_the_steps_that_are_commented_out_are_valid(tmp_path: Path) -> None:
    """Without their marks they are the steps that the page has."""
    shell = Shell(tmp_path)
    shell("init", "--template", "alert")
    text = (tmp_path / "alert.flow.yaml").read_text()

    shell.write("alert.flow.yaml", COMMENTED.sub(lambda match: f"  {match[1] or ''}", text))

    shell("validate", "--import", "--strict", "alert.flow.yaml")
    plan = shell("plan", "alert.flow.yaml", "--json").json
    assert {"note", "webhook", "slack", "email"} <= set(json.dumps(plan).split('"'))


def test_who_is_asked_gets_a_link(tmp_path: Path, database: str) -> None:
    """The page's flow and handler post it; it is signed with the key of the project."""
    posts: list[tuple[str, str, Any]] = [("", "", None)]
    shell = Shell(tmp_path, database)
    shell("init", "--template", "alert")
    _, flow = (block.text for block in blocks("yaml", [FILE]))
    handler = next(block.text for block in blocks("python", [FILE]) if "def ask" in block.text)
    with serving(HTTPServer(("127.0.0.1", 0), partial(Posts, posts))) as http:
        shell.write(
            "shop/asking.py", re.sub(r"https://[^\"]+", f"http://127.0.0.1:{http}/", handler)
        )
        shell.write("ask.flow.yaml", flow)
        shell.write(
            "payout.flow.yaml",
            "flow: payout\nsteps:\n  approve: {wait: {event: approval, by: [ada, finance]}}\n",
        )
        shell("compile", "ask.flow.yaml", "payout.flow.yaml")
        run = shell("start", "payout").out.strip()
        worker = Shell(tmp_path, database, {"PGFLOW_YAML_UI_URL": "https://flows.example.com/"})
        worker("worker", "--burst")

    text = posts[1][2]["text"]
    said, _, token = text.rpartition("/")
    assert said == "payout waits for ada or finance: https://flows.example.com/a"
    approval = verify(token, link_key(tmp_path, {}), now=datetime.now(UTC))
    assert (approval.run, approval.step, approval.by) == (run, "approve", None)
    assert token not in json.dumps(shell("show", "last", "--json", "--items").json)
