"""Links to one approval: what they allow, for how long, and what is none."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.client import Client
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.project.link_key import link_key
from pgflow_yaml.project.settings import read_settings
from pgflow_yaml.runs.approval_links import (
    Approval,
    LinkRefused,
    approval_url,
    check_open,
    sign,
    verify,
)
from pgflow_yaml.worker.calls.context import Context
from pgflow_yaml.worker.calls.masks import MOST_VALUES, masks

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"0123456789abcdef"
NOW = datetime(2036, 1, 1, 12, tzinfo=UTC)
APPROVAL = Approval(run="r-1", step="ok", retries=2, expires=NOW + timedelta(hours=1), by="änn")


def test_a_link_says_what_was_signed() -> None:
    """In letters that need no quoting in an address."""
    url = approval_url("https://flows.example.com/ui/", APPROVAL, KEY)

    address, _, token = url.rpartition("/")
    assert address == "https://flows.example.com/ui/a"
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert verify(token, KEY, now=NOW) == APPROVAL


def test_a_changed_letter_anywhere_makes_it_none() -> None:
    """Nor does another key, a cut token, or one in another spelling of base64."""
    token = sign(APPROVAL, KEY)
    forged = [
        token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        for place, letter in enumerate(token)
    ]
    others = ["", ".", token[:-1], token + "=", token + "A", f"{token}.{token}", " " + token,
              token.split(".")[0], "ä." + token, "x" * 5000]  # fmt: skip

    for text in (*forged, *others):
        with pytest.raises(LinkRefused, match="this is no link to an approval"):
            verify(text, KEY, now=NOW)
    with pytest.raises(LinkRefused, match="this is no link"):
        verify(token, b"another key 1234", now=NOW)


def test_a_link_expires() -> None:
    """At its time, to the second."""
    token = sign(APPROVAL, KEY)

    verify(token, KEY, now=NOW + timedelta(seconds=3599))
    with pytest.raises(LinkRefused, match="expired, at 2036-01-01 13:00Z"):
        verify(token, KEY, now=NOW + timedelta(hours=1))


def shown(**changes: Any) -> Any:
    """A run that waits for the decision of the link."""
    run = {"status": "started", "retries": 2} | changes.pop("run", {})
    step = {"slug": "ok", "action": "wait", "status": "waiting", "answer": None} | changes
    return {"run": run, "steps": [step]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"run": {"retries": 3}}, "older than the last retry"),
        ({"run": {"status": "cancelled"}, "status": "cancelled"}, "waits no more: it is cancelled"),
        ({"status": "skipped"}, "waits no more: it is skipped"),
        ({"slug": "other"}, 'step "ok" of this run asks for nothing'),
        ({"action": "handler"}, 'step "ok" of this run asks for nothing'),
        (
            {"answer": {"kind": "decision", "approved": True, "by": "bob"}, "status": "completed"},
            'step "ok" is approved already, by bob',
        ),
        (
            {"answer": {"kind": "event", "approved": None, "by": "bob"}, "status": "created"},
            'an event from bob came before a decision about step "ok"',
        ),
    ],
)
def test_a_link_is_over_when_its_run_has_gone_on(changes: dict[str, Any], sentence: str) -> None:
    """One that is not is open, also before the step is reached."""
    with pytest.raises(LinkRefused, match=sentence):
        check_open(APPROVAL, shown(**changes))

    check_open(APPROVAL, shown())
    check_open(APPROVAL, shown(status="created"))


def test_the_key_is_a_variable_or_a_file_of_its_owner(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is made once, out of git, and said to be; both give the same key each time."""
    (tmp_path / "pyproject.toml").touch()

    first, again = link_key(tmp_path, {}), link_key(tmp_path, {})

    file = tmp_path / ".pgflow" / "ui.key"
    assert first == again == file.read_text().strip().encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(os.listdir(file.parent)) == [".gitignore", "ui.key"]  # noqa: PTH208 (names alone)
    (said,) = caplog.messages
    assert said.startswith(f"{file} was made: it signs links to approvals; if the web view or")
    assert "set PGFLOW_YAML_LINK_KEY for all of them" in said
    assert (
        link_key(tmp_path, {"PGFLOW_YAML_LINK_KEY": " abcdefghijklmnop\n"}) == b"abcdefghijklmnop"
    )
    with pytest.raises(WrongSetting, match="PGFLOW_YAML_LINK_KEY: a key has at least 16"):
        link_key(tmp_path, {"PGFLOW_YAML_LINK_KEY": "short"})


class Attempt:
    """The attempt of a context."""

    run_id, step, index, attempt, fence, iteration, cancelled = "own", "s", 0, 1, 1, 0, False
    retries = 4
    trace_id: str | None = None
    scheduled_at: datetime | None = None


def context(run_input: Any, made: list[Approval] | None = None) -> Context:
    """The context of a handler whose worker makes links, if `made` collects them."""

    def link(approval: Approval) -> str:
        assert made is not None
        made.append(approval)
        return f"https://x/a/token-{len(made)}-of-some-length"

    return Context(
        Attempt(),
        run_input=lambda: run_input,
        beat=lambda: None,
        timeout=60,
        link=None if made is None else link,
    )


def test_a_handler_gets_a_link_to_a_step_of_its_run() -> None:
    """Or, in a run that a wait has started, to that wait; logs show no link."""
    made: list[Approval] = []

    own = context({}, made).approval_url("ok", by="ann", valid=60)
    context(
        {"status": "waiting", "run": "r-7", "step": "review", "retries": 1}, made
    ).approval_url()

    assert own == "https://x/a/token-1-of-some-length"
    assert masks.text(own) == "https://x/a/***"
    first, second = made
    assert (first.run, first.step, first.retries, first.by) == ("own", "ok", 4, "ann")
    assert timedelta(seconds=50) < first.expires - datetime.now(UTC) <= timedelta(seconds=60)
    assert (second.run, second.step, second.retries, second.by) == ("r-7", "review", 1, None)


def test_a_link_is_signed_by_the_key_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a handler has gone since the worker was made."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    (project / "pyproject.toml").write_text('[tool.pgflow-yaml]\nui-url = "https://x"\n')
    monkeypatch.delenv("PGFLOW_YAML_LINK_KEY", raising=False)
    monkeypatch.chdir(project)
    worker = Client("").worker(read_settings(project, flags={}, environ={}))
    link = worker._turns._sources.approval_link
    monkeypatch.chdir(elsewhere)

    assert link is not None
    token = link(APPROVAL).rpartition("/")[2]

    assert not list(elsewhere.iterdir())
    assert verify(token, link_key(project, {}), now=NOW) == APPROVAL


def test_links_push_no_secret_out_of_the_masks() -> None:
    """A listener makes one for each run; the last ones are masked, too."""
    masks.add("a-secret-beside-links")
    made: list[Approval] = []
    urls = [context({}, made).approval_url("ok") for _ in range(MOST_VALUES + 1)]

    assert masks.text("a-secret-beside-links") == "***"
    assert masks.json_text(f'["{urls[-1]}"]') == '["https://x/a/***"]'
    assert masks.text(urls[0]) == urls[0]


@pytest.mark.parametrize("run_input", [None, {"status": "failed", "run": "r"}, {"a": 1}])
def test_a_link_without_a_step_needs_a_wait(run_input: Any) -> None:
    """And without a web view there is none."""
    with pytest.raises(ValueError, match="name the step"):
        context(run_input, []).approval_url()
    with pytest.raises(WrongSetting, match="set ui-url in"):
        context(run_input).approval_url("ok")
