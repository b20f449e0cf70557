"""`pgflow-yaml test`: waits, polling and child runs in virtual time, and what never comes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = """\
flow: release
steps:
  build:
    handler: app.build
  approve:
    wait: {event: approval}
    depends_on: [build]
  rest:
    wait: {for: 3d}
    depends_on: [approve]
  deploy:
    flow: region
    map: [eu, us]
    depends_on: [rest]
    with: {region: "${{ item }}"}
  healthy:
    handler: app.healthy
    depends_on: [deploy]
    repeat: {until: output.ready, every: 1h, max: 48}
finally:
  note:
    handler: app.note
    with: {status: "${{ run.status }}", started: "${{ run.started_at }}"}
"""
REGION = """\
flow: region
input: {region: {type: string}}
steps:
  push:
    handler: app.push
    with: {region: "${{ input.region }}"}
"""
HANDLERS = """\
import time

def build():
    return "image"

def push(region):
    return f"pushed to {region}"

def healthy(outputs, ctx):
    return {"ready": ctx.iteration == 2}

def note(status, started):
    return f"{status}, {started}"
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A project with a flow that waits, and the flow that it runs."""
    shell = Shell(tmp_path_factory.mktemp("project"))
    shell.write("pyproject.toml", "")
    shell.write("release.flow.yaml", RELEASE)
    shell.write("region.flow.yaml", REGION)
    shell.write("app.py", HANDLERS)
    return shell


def played(shell: Shell, case: str, *, expect: int = 0, head: str = "") -> dict[str, Any]:
    """Play one case, written as flow-style YAML; its result."""
    shell.write("release.test.yaml", f"flow: release\n{head}cases:\n  one: {case}\n")
    found: dict[str, Any] = shell("test", "release.test.yaml", "--json", expect=expect).json[
        "files"
    ][0]
    assert found["diagnostics"] == []
    return dict(found["cases"][0])


def test_days_and_rounds_pass_at_once(shell: Shell) -> None:
    """Hours until the approval, three days of rest, two rounds an hour apart; real handlers."""
    case = """
      mocks: {approve: {event: {ok: true}, sleep: 5h}}
      now: "2031-05-01T00:00:00Z"
      expect:
        outputs:
          approve: {ok: true}
          deploy: [{push: pushed to eu}, {push: pushed to us}]
          note: "completed, 2031-05-01T00:00:00.000000Z"
        steps: {healthy: {iteration: 2, attempts: 1}}
    """
    began = time.monotonic()

    assert played(shell, case)["status"] == "passed"
    assert time.monotonic() - began < 20


def test_steps_of_a_child_flow_can_be_mocked(shell: Shell) -> None:
    """Below the step that runs it; its other steps stay as they are."""
    case = """
      mocks: {approve: {approve: {by: ann}}, deploy: {mocks: {push: {raises: Full}}}}
      expect: {status: failed, error: ChildFailed, outputs: {approve: {by: ann}}}
    """

    assert played(shell, case)["status"] == "passed"


def test_a_child_flow_can_be_mocked_as_a_whole(shell: Shell) -> None:
    """An outcome in place of its runs, by item where they differ; what it was given is seen."""
    case = """
      mocks:
        approve: {approve: true}
        deploy: {output: done, items: {"1": [{raises: Full}]}}
      expect: {error: Full, steps: {deploy: {with: {region: us}, items: [completed, failed]}}}
    """

    found = played(shell, case)

    assert found["diagnostics"] == []


def test_a_child_flow_cannot_be_mocked_by_half(shell: Shell) -> None:
    """It runs or it does not: an item without an outcome is pointed out."""
    case = """
      mocks: {approve: {approve: true}, deploy: {items: {"1": {output: done}}}}
      expect: {status: completed}
    """

    (found,) = played(shell, case, expect=1)["diagnostics"]

    assert found["code"] == "PF509"
    assert 'step "deploy" runs a flow' in found["message"]
    assert "stand_in" not in found["message"]


def test_mocks_reach_flows_below_flows(shell: Shell) -> None:
    """To any depth; a version that a step names plays no part, the files do."""
    shell.write("top.flow.yaml", 'flow: top\nsteps:\n  a: {flow: "mid@0123456789ab"}\n')
    shell.write("mid.flow.yaml", "flow: mid\nsteps:\n  b: {flow: low}\n")
    shell.write("low.flow.yaml", "flow: low\nsteps:\n  c: {handler: nowhere.work}\n")
    shell.write(
        "top.test.yaml",
        "flow: top\ncases:\n"
        "  deep:\n"
        "    mocks: {a: {mocks: {b: {mocks: {c: {output: 1}}}}}}\n"
        "    expect: {outputs: {a: {b: {c: 1}}}}\n"
        "  half: {mocks: {a: {mocks: {b: {output: 2}}}}, expect: {outputs: {a: {b: 2}}}}\n",
    )

    found = shell("test", "top.test.yaml", "--json").json["files"][0]["cases"]

    assert [case["status"] for case in found] == ["passed", "passed"]


def test_a_rejection_is_a_failure_without_another_try(shell: Shell) -> None:
    """With who said it and why."""
    case = """
      mocks: {approve: {reject: {by: bob, comment: too late}}}
      expect:
        status: failed
        error: {type: Rejected, message: "rejected by bob: too late"}
        outputs: {note: "failed, 2030-01-01T00:00:00.000000Z"}
    """

    assert played(shell, case)["status"] == "passed"


def test_a_run_in_which_nothing_can_happen_is_told_why(shell: Shell) -> None:
    """The event that no mock sends, and who waits behind it; in a moment, not after a timeout."""
    found = played(shell, "{expect: {status: completed}}", expect=1)

    message = found["diagnostics"][0]["message"]
    assert found["diagnostics"][0]["code"] == "PF521"
    assert 'step "approve" waits for event "approval", which no mock sends' in message
    assert 'step "rest" waits for "approve"' in message


def test_an_event_comes_when_its_mock_says(shell: Shell) -> None:
    """An hour after the step began to wait is too late for one that waits half an hour."""
    shell.write(
        "late.flow.yaml", "flow: late\nsteps:\n  hear: {wait: {event: word, timeout: 30m}}\n"
    )
    shell.write(
        "late.test.yaml",
        "flow: late\ncases:\n"
        "  late: {mocks: {hear: {event: 1, sleep: 1h}}, expect: {error: WaitTimeout}}\n"
        "  soon: {mocks: {hear: {event: 1, sleep: 29m}}, expect: {outputs: {hear: 1}}}\n",
    )

    found = shell("test", "late.test.yaml", "--json").json["files"][0]["cases"]

    assert [case["status"] for case in found] == ["passed", "passed"]


def test_a_run_without_an_end_is_given_up(shell: Shell) -> None:
    """After ten years of its time, which take a moment."""
    shell.write(
        "endless.flow.yaml",
        "flow: endless\nsteps:\n  a:\n    handler: app.build\n"
        "    repeat: {until: output.ready, every: 90d, max: null}\n",
    )
    shell.write("endless.test.yaml", "flow: endless\ncases:\n  one: {expect: {status: failed}}\n")

    result = shell("test", "endless.test.yaml", expect=1)

    assert "the run had not ended after ten years of its time" in result.out


def test_a_mock_that_takes_too_long_times_out(shell: Shell) -> None:
    """`sleep` is time of the run: longer than the step's timeout, it is an attempt that failed."""
    head = (
        "mocks: {approve: {approve: true}, deploy: {output: 1}, healthy: {output: {ready: true}}}\n"
    )
    case = """
      mocks: {build: [{sleep: 2m}, {sleep: 30s, output: slow}]}
      expect: {attempts: {build: 2}, outputs: {build: slow}}
    """

    assert played(shell, case, head=head)["status"] == "passed"


def test_a_handler_that_asks_for_a_later_try_is_given_it(shell: Shell) -> None:
    """RetryLater with its delay, PermanentError without any further attempt."""
    head = (
        "mocks: {approve: {approve: true}, deploy: {output: 1}, healthy: {output: {ready: true}}}\n"
    )
    later = """
      mocks: {build: [{raises: {type: RetryLater, delay: 2d}}, real]}
      expect: {attempts: {build: 2}, outputs: {build: image}}
    """
    never = """
      mocks: {build: {raises: {type: PermanentError, message: no}}}
      expect: {attempts: {build: 1}, error: {type: PermanentError, message: no}}
    """

    assert played(shell, later, head=head)["status"] == "passed"
    assert played(shell, never, head=head)["status"] == "passed"


def test_watch_tests_again_when_a_handler_changes(shell: Shell) -> None:
    """In a new process, so that the change is seen."""
    shell.write(
        "region.test.yaml",
        "flow: region\ncases:\n  one:\n    input: {region: eu}\n"
        "    expect: {output: {push: pushed to eu}}\n",
    )
    running = shell.start("test", "region.test.yaml", "--watch")
    try:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("✓")
        running.stdout.readline()
        shell.write("app.py", HANDLERS.replace("pushed to", "sent to"))

        assert running.stdout.readline().startswith("✗")
    finally:
        running.kill()
        running.communicate()
        shell.write("app.py", HANDLERS)


def test_the_database_of_the_user_is_not_touched(tmp_path: Path, database: str) -> None:
    """Whatever DATABASE_URL names: tests make databases on a server of their own."""
    shell = Shell(tmp_path, database)
    shell("init")

    shell("test")

    assert shell("flows", "--json").json == []


def test_an_async_handler_is_stopped_at_its_timeout(shell: Shell) -> None:
    """With the error that a worker would report, and its own clean-up done."""
    shell.write(
        "sleepy.flow.yaml",
        "flow: sleepy\nsteps:\n  a: {handler: sleepy.wait, timeout: 100ms, retry: 1}\n",
    )
    shell.write(
        "sleepy.py",
        "import asyncio, pathlib\n\n"
        "async def wait(ctx):\n"
        "    try:\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        pathlib.Path('sleepy.txt').write_text(str(ctx.cancelled))\n",
    )
    shell.write(
        "sleepy.test.yaml",
        "flow: sleepy\ncases:\n  one:\n    expect:\n"
        "      error: {type: Timeout, message: the handler did not return within 0.1 s}\n",
    )

    result = shell("test", "sleepy.test.yaml")

    assert "1 passed" in result.out
    assert (shell.folder / "sleepy.txt").read_text() == "True"


ASKING = """\
flow: asking
steps:
  approve:
    wait:
      event: approval
      form:
        granted: {type: integer, minimum: 1}
        lines: {type: array, items: {type: string}, default: []}
      by: [ada, finance]
      timeout: 1d
      remind: 4h
"""


@pytest.mark.parametrize(
    ("mock", "expect"),
    [
        ("{approve: {data: {granted: 5}}}",
         "{outputs: {approve: {by: ada, data: {granted: 5, lines: []}}}}"),
        ("{reject: {by: finance, data: {lines: [a]}}}", "{error: Rejected}"),
        ("{approve: {by: ada, data: {granted: 5}}, sleep: 2d}", "{error: WaitTimeout}"),
    ],
)  # fmt: skip
def test_a_form_is_filled_in_by_a_mock(shell: Shell, mock: str, expect: str) -> None:
    """As one of those who are asked, unless it names somebody."""
    shell.write("asking.flow.yaml", ASKING)
    shell.write(
        "asking.test.yaml",
        f"flow: asking\ncases:\n  one:\n    mocks: {{approve: {mock}}}\n    expect: {expect}\n",
    )

    assert "1 passed" in shell("test", "asking.test.yaml").out


@pytest.mark.parametrize(
    ("mock", "reason"),
    [
        ("{approve: {data: {granted: 0}}}", "the answer was refused: granted: must be at least 1"),
        ("{approve: {data: {granted: 1, lines: [5]}}}", "lines[0]: must be string"),
        ("{approve: true}", "granted: is required"),
        (
            "{approve: {by: bob, data: {granted: 1}}}",
            "is for ada or finance to decide, not for bob",
        ),
        ("{event: {granted: 1}}", "asks for a decision, which no event is"),
    ],
)
def test_an_answer_that_is_refused_is_why_a_case_is_stuck(
    shell: Shell, mock: str, reason: str
) -> None:
    """The sentence that its sender would get."""
    shell.write(
        "asking.flow.yaml", ASKING.replace("      timeout: 1d\n", "").replace("remind: 4h", "")
    )
    shell.write(
        "asking.test.yaml",
        f"flow: asking\ncases:\n  one:\n    mocks: {{approve: {mock}}}\n"
        "    expect: {status: completed}\n",
    )

    out = shell("test", "asking.test.yaml", expect=1).out

    assert "and its mock was refused: " in out
    assert reason in out
