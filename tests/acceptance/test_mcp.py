"""`pgflow-yaml mcp` as an assistant sees it: driven over stdio by the client of the SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgflow_yaml import Client as Database
from pgflow_yaml.text import clean
from tests.acceptance.shell import COMMAND, Shell
from tests.fixtures import pg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anyio.from_thread import BlockingPortal
    from mcp import Client

    from pgflow_yaml.database.embedded import LocalServer

LOOKS = {
    "list_runs",
    "show_run",
    "explain_waiting",
    "read_logs",
    "list_flows",
    "show_flow",
    "list_waiting",
    "doctor",
}
ACTS = {"start_run", "retry_run", "cancel_run", "approve", "reject", "send_event"}
MOST_BYTES = 64_000
SECRET = "kanarie-31337"
HOSTILE = "\x1b[31mred\x1b[0m <script>alert(1)</script> \u202eevil\u2066 \x9b2J\x07"
# As they are, and as JSON may write them; the visible rest of an escape goes too.
MARKS = ("\\u001b", "\\u009b", "\\u0007", "\x9b", "\u202e", "\u2066", "[31m", "2J")
HANDLERS = f"""
HOSTILE = {HOSTILE!r}

def book(order, token):
    print("booking with", token)
    print(HOSTILE)
    return {{"order": order, "note": HOSTILE, "header": "Bearer " + token}}

def charge(amount, item):
    if item == 1:
        raise ValueError(HOSTILE)
    return amount

def fill(size):
    print("y" * 1000)
    return ["x" * size] * 40

def say(lines):
    for number in range(lines):
        print(number, "z" * 1000)
"""
ORDER = """
flow: order
input: {amount: {type: integer, minimum: 1}}
steps:
  book: {handler: shop.book, with: {order: A7, token: "${{ secrets.API_TOKEN }}"}}
  charge:
    handler: shop.charge
    depends_on: [book]
    map: ${{ [0, 1, 2] }}
    with: {amount: "${{ input.amount }}", item: "${{ item }}"}
    retry: 1
"""
RELEASE = """
flow: release
steps:
  go_live: {wait: {event: go_live}}
  check: {flow: tests, depends_on: [go_live], with: {}}
"""
TESTS = "flow: tests\nsteps:\n  result: {wait: {event: tested}}\n"
REVIEW = """
flow: review
steps:
  look: {wait: {event: looked, form: {amount: {type: integer}}}}
"""
BIG = """
flow: big
input: {text: {type: string}}
steps:
  fill: {handler: shop.fill, with: {size: 40000}}
  say: {handler: shop.say, with: {lines: 400}}
"""


class Assistant:
    """An assistant that is connected to one process of the server."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal, self._client = portal, client

    def tools(self) -> dict[str, Any]:
        """The tools by name."""
        return {tool.name: tool for tool in self._portal.call(self._client.list_tools).tools}

    def ask(self, tool: str, **arguments: Any) -> tuple[str, bool]:
        """The text of an answer, and whether it is an error."""
        result = self._portal.call(self._client.call_tool, tool, arguments)
        (content,) = result.content
        assert content.type == "text"
        assert len(content.text.encode()) <= MOST_BYTES
        return content.text, bool(result.is_error)

    def __call__(self, tool: str, **arguments: Any) -> Any:
        """The answer of a tool that works."""
        text, failed = self.ask(tool, **arguments)
        assert not failed, text
        return json.loads(text)

    def refused(self, tool: str, **arguments: Any) -> str:
        """The sentence of a tool that does not."""
        text, failed = self.ask(tool, **arguments)
        assert failed, text
        assert "\n" not in text
        assert "bug" not in text
        return text


@contextmanager
def connected(shell: Shell, *options: str) -> Iterator[Assistant]:
    """A process of the server and an assistant of the user ada, which are both ended.

    The SDK takes a second to import: not while tests are collected.
    """
    from anyio.from_thread import start_blocking_portal
    from mcp import Client, StdioServerParameters

    env = {**shell.environment("mcp"), "USER": "ada", "LOGNAME": "ada"}
    server = StdioServerParameters(
        command=str(COMMAND), args=["mcp", *options], cwd=shell.folder, env=env
    )
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client(server)) as client,
    ):
        yield Assistant(portal, client)


@pytest.fixture(scope="module")
def shell(
    server: LocalServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    """A project with a run that failed, one that waits and one that is big."""
    with contextmanager(pg._fresh)(server, template) as database:
        env = {"PGFLOW_YAML_SECRET_API_TOKEN": SECRET, "PGFLOW_YAML_LOGS": "database"}
        shell = Shell(tmp_path_factory.mktemp("project"), database, env)
        shell.write("shop.py", HANDLERS)
        texts = {"order": ORDER, "release": RELEASE, "tests": TESTS, "big": BIG}
        files = [shell.write(f"{name}.yaml", text).name for name, text in texts.items()]
        shell("compile", *files)
        shell("start", "order", "--input", "amount=5", "--key", "failed")
        shell.write("big.json", json.dumps({"text": "w" * 200_000}))
        shell("start", "big", "--input", "@big.json", "--key", "big")
        shell("start", "release", "--key", "waits")
        shell("worker", "--burst")
        yield shell


@pytest.fixture(scope="module")
def assistant(shell: Shell) -> Iterator[Assistant]:
    """An assistant that may act; one process for the module."""
    with connected(shell, "--allow-actions") as found:
        yield found


def test_without_a_word_it_only_looks(shell: Shell) -> None:
    """The tools that act are not there, and their names are those of no tool."""
    with connected(shell) as assistant:
        tools = assistant.tools()
        refused = assistant.refused("start_run", flow="tests")
        shown = assistant("show_run", run="failed")

    assert tools.keys() == LOOKS
    assert all(tool.annotations.read_only_hint for tool in tools.values())
    assert refused.startswith('there is no tool "start_run"')
    assert shown["run"]["status"] == "failed"


def test_the_database_refuses_what_a_looking_session_writes(shell: Shell) -> None:
    """Even a tool that acts changes nothing there: one sentence."""
    from pgflow_yaml.mcp.server import ToolServer

    assert shell.database is not None
    with Database(shell.database).another(read_only=True, patience=0.1) as client:
        text, failed = ToolServer(client, by="mcp:eve", actions=True).answer(
            "cancel_run", {"run": "waits"}
        )

    assert failed
    assert "read-only transaction" in text


def test_with_actions_each_tool_says_what_it_is(assistant: Assistant) -> None:
    """Hints for the host; every argument has a description."""
    tools = assistant.tools()

    assert tools.keys() == LOOKS | ACTS
    assert {name for name, tool in tools.items() if tool.annotations.read_only_hint} == LOOKS
    assert {name for name, tool in tools.items() if tool.annotations.destructive_hint} == {
        "cancel_run",
        "reject",
    }
    for tool in tools.values():
        assert all("description" in field for field in tool.input_schema["properties"].values())
        assert tool.input_schema["additionalProperties"] is False


def test_answers_are_those_of_the_commands(shell: Shell, assistant: Assistant) -> None:
    """The same JSON, cleaned for whoever reads it; and the same sentences."""
    shown = assistant("show_run", run="failed")
    printed = shell("show", "failed", "--json", "--why").json
    step = assistant("show_run", run="failed", step="charge", item=1)
    of_step = shell("show", "failed", "--step", "charge", "--item", "1", "--json").json
    why = shell("show", "waits", "--json", "--why").json

    assert shown.keys() == printed.keys()
    messages = [each["run"].pop("error")["message"] for each in (shown, printed)]
    assert messages == [clean(HOSTILE), HOSTILE]
    assert shown["run"] == printed["run"]
    assert [each["slug"] for each in shown["steps"]] == ["book", "charge"]
    assert shown["steps"][1].keys() == printed["steps"][1].keys()
    assert step["steps"][0]["item"]["arguments"] == of_step["steps"][0]["item"]["arguments"]
    assert assistant("list_flows")["flows"] == shell("flows", "--json").json
    listed = assistant("list_runs", status="failed", flow="order")["runs"]
    runs = shell("runs", "--status", "failed", "--flow", "order", "--json").json
    assert [run["id"] for run in listed] == [run["id"] for run in runs]
    assert printed["run"]["id"] in [run["id"] for run in runs]
    lines = [line["text"] for line in assistant("read_logs", run="failed", step="book")["lines"]]
    assert lines[0] == "booking with ***"
    assert len(lines) == len(shell("logs", "failed", "--step", "book", "--json").events)
    explained = assistant("explain_waiting", run="waits")
    assert explained["why"] == {each["slug"]: each["why"]["sentence"] for each in why["steps"]}
    assert f"pgflow-yaml send {why['run']['id'][:8]} go_live" in explained["why"]["go_live"]
    ended = assistant("explain_waiting", run="failed")
    assert ended["waits_for_nothing"] == "the run has failed"
    waiting = assistant("list_waiting")["waiting"]
    assert [(each["flow"], each["step"], each["event"]) for each in waiting] == [
        ("release", "go_live", "go_live")
    ]
    assert assistant("show_flow", flow="release")["yaml"] == RELEASE
    version = shell("versions", "release", "--json").json[0]["version"]
    assert assistant("show_flow", flow="release", version=version[:6])["active"] is True
    examined = assistant("doctor")
    checks = shell("doctor", "--json", expect=1).json["checks"]
    assert [each["check"] for each in examined["checks"]] == [each["check"] for each in checks]
    assert "checks passed" in examined["summary"]


def test_no_secret_and_no_control_character_gets_out(assistant: Assistant) -> None:
    """In outputs, errors, traces and logs; what is only text stays."""
    answers = [
        assistant.ask(tool, **arguments)[0]
        for tool, arguments in (
            ("show_run", {"run": "failed"}),
            ("show_run", {"run": "failed", "step": "book"}),
            ("show_run", {"run": "failed", "step": "charge", "item": 1}),
            ("read_logs", {"run": "failed"}),
            ("list_runs", {"error": "red"}),
        )
    ]

    for answer in answers:
        assert SECRET not in answer
        assert not [mark for mark in MARKS if mark in answer]
        assert "<script>alert(1)</script>" in answer


def test_a_big_answer_is_cut_and_says_how_to_read_on(assistant: Assistant) -> None:
    """It stays valid JSON; short values stay whole, long texts and lists are cut."""
    shown = assistant("show_run", run="big")
    logs = assistant("read_logs", run="big", limit=500)
    few = assistant("read_logs", run="big", step="say", limit=20)

    assert shown["left_out"].endswith("`step` shows one step, `item` one item of a map")
    assert shown["run"]["status"] == "completed"
    assert shown["run"]["input"]["text"].endswith("… (200,000 characters)")
    assert logs["left_out"].startswith("cut here: texts of more than ")
    assert "lower `limit`" in logs["left_out"]
    assert "left_out" not in few
    assert [line["text"].split()[0] for line in few["lines"]] == [str(n) for n in range(380, 400)]


def test_an_error_is_one_sentence_that_helps(assistant: Assistant) -> None:
    """What the commands say, or what is wrong about an argument; nothing is a bug."""
    sentences: list[tuple[str, dict[str, Any], str]] = [
        ("show_run", {}, 'show_run needs "run"'),
        ("show_run", {"rn": "x"}, 'did you mean "run"?'),
        ("show_run", {"run": "nowhere"}, 'there is no run "nowhere"'),
        ("show_run", {"run": "order"}, "that is a flow"),
        ("show_run", {"run": "/etc/passwd"}, "`pgflow-yaml runs` lists them"),
        ("show_run", {"run": "a\x00b\x1b[31m"}, ""),
        ("show_run", {"run": 7}, "run must be string, not the number 7"),
        ("show_run", {"run": "r" * 1_000_000}, "there is no run"),
        ("explain_waiting", {"run": "00000000-0000-0000-0000-000000000000"}, "there is no run"),
        ("read_logs", {"run": "failed", "step": "bok"}, 'did you mean "book"?'),
        ("read_logs", {"run": "failed", "since": "soon"}, "is not a duration; write 30s"),
        ("list_runs", {"status": "runing"}, "status must be one of"),
        ("list_runs", {"limit": 1000}, "limit must be at most 50"),
        ("list_runs", {"flow": "oder"}, 'did you mean "order"?'),
        ("list_runs", {"flow": ""}, "flow must have at least 1"),
        ("show_flow", {"flow": "order", "version": "zz"}, 'flow "order" has no version "zz"'),
        ("show_rum", {}, 'there is no tool "show_rum"; did you mean "show_run"?'),
        ("start_run", {"flow": "order", "input": {"amount": 0}}, "amount: must be at least 1"),
        ("start_run", {"flow": "tests", "key": "last"}, "means the latest run"),
        ("approve", {"run": "waits", "step": "go_liv"}, 'did you mean "go_live"?'),
        ("retry_run", {"run": "waits"}, ""),
    ]

    for tool, given, expected in sentences:
        text = assistant.refused(tool, **given)
        assert expected in text, text
        assert "Traceback" not in text
        assert "\x1b" not in text
        assert len(text) <= 2_000


def test_actions_are_those_of_the_commands_in_the_name_of_the_assistant(
    shell: Shell, assistant: Assistant
) -> None:
    """Who did it is in the audit, the decision and the label of the run."""
    started = assistant("start_run", flow="release", key="mine", labels={"team": "ops"})
    again = assistant("start_run", flow="release", key="mine")
    run = started["run_id"]
    approved = assistant("approve", run="mine", step="go_live", comment="tests are green")
    rejected = assistant.refused("reject", run="mine", step="go_live")
    shell("worker", "--burst")
    child = assistant("list_runs", parent="mine")["runs"][0]["id"]
    unknown = assistant("send_event", run=child, event="testet")
    sent = assistant("send_event", run=child, event="tested", data={"passed": 12})
    shell("worker", "--burst")
    plan = assistant("retry_run", run="failed", from_steps=["book"], dry_run=True)
    unagreed = assistant.refused("retry_run", run="failed", from_steps=["book"])
    other = assistant("start_run", flow="release")["run_id"]
    cancelled = assistant("cancel_run", run=other, reason="wrong order")

    assert (started["said"], started["created"]) == ("started", True)
    assert again["said"] == "this key was used before: its run is running"
    assert approved["said"] == "go_live approved by mcp:ada"
    assert rejected.startswith("nothing changed: go_live was approved by mcp:ada ")
    assert sent["said"] == ["completed result"]
    assert unknown["said"][1] == (
        'no step of tests waits for an event "testet"; did you mean "tested"?'
    )
    assert plan["said"] == [
        "again: book, charge",
        "already completed, and would run again: book",
    ]
    assert plan["run_id"] == shell("show", "failed", "--json").json["run"]["id"]
    assert unagreed == "already completed, and would run again: book; yes: true agrees"
    assert cancelled["said"] == "cancelled"
    shown = shell("show", run, "--json").json
    assert shown["run"]["status"] == "completed"
    assert shown["run"]["labels"] == {"started_by": "mcp:ada", "team": "ops"}
    assert shown["steps"][0]["answer"]["by"] == "mcp:ada"
    assert shell.database is not None
    with psycopg.connect(shell.database) as database:
        audit = database.execute("select action, who from pgflow.audit where who ~ '^mcp'")
        assert {row[0] for row in audit} >= {"start", "approve", "cancel"}


def test_a_decision_fills_in_the_form(shell: Shell, assistant: Assistant) -> None:
    """What is wrong about an answer is one sentence, and decides nothing."""
    shell.write("review.yaml", REVIEW)
    shell("compile", "review.yaml")
    for key in ("good", "bad"):
        shell("start", "review", "--key", key)
    shell("worker", "--burst")

    empty = assistant.refused("approve", run="good", step="look")
    wrong = assistant.refused("approve", run="good", step="look", data={"amount": "many"})
    approved = assistant("approve", run="good", step="look", data={"amount": 7}, comment="fine")
    rejected = assistant("reject", run="bad", step="look", data={"amount": 0})
    shell("worker", "--burst")

    assert empty.startswith("the answer was refused: amount")
    assert wrong.startswith("the answer was refused: amount: must be integer")
    assert approved["said"] == "look approved by mcp:ada"
    assert rejected["said"] == "look rejected by mcp:ada"
    shown = assistant("show_run", run="good")
    assert shown["steps"][0]["output"]["data"] == {"amount": 7}


def test_a_retry_runs_again_what_failed(shell: Shell, assistant: Assistant) -> None:
    """A dry run changes nothing; the retry keeps what the dry run said."""
    shell("start", "order", "--input", "amount=7", "--key", "again")
    shell("worker", "--burst")

    plan = assistant("retry_run", run="again", dry_run=True)
    before = shell("show", "again", "--json").json["run"]
    done = assistant("retry_run", run="again")

    assert plan["said"][0].startswith("again: charge · kept: book")
    assert (before["status"], before["retries"]) == ("failed", 0)
    assert done["said"] == plan["said"]
    assert shell("show", "again", "--json").json["run"]["retries"] == 1


def test_a_lost_connection_is_made_again(shell: Shell, assistant: Assistant) -> None:
    """The assistant does not notice."""
    assistant("list_flows")
    assert shell.database is not None
    with psycopg.connect(shell.database, autocommit=True) as database:
        database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )

    assert assistant("list_flows")["flows"]


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    """No traceback, and the exit code of what is missing around a command."""
    blind = "import sys; sys.modules['mcp'] = None; from pgflow_yaml.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", blind, "mcp"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 3
    assert "pip install 'pgflow-yaml[mcp]'" in done.stderr
    assert "Traceback" not in done.stderr
