"""`pgflow-yaml test`: cases in virtual time, what it prints, its exit codes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from textwrap import dedent, indent
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

FLOW = """\
flow: order
input:
  order_id: {type: integer}
steps:
  reserve:
    handler: shop.reserve
    with: {order: "${{ input.order_id }}"}
  charge:
    handler: shop.charge
    depends_on: [reserve]
    retry: {max_attempts: 4, base_delay: 1h, max_delay: 10h}
  ship:
    handler: shop.ship
    depends_on: [charge]
"""
HANDLERS = """\
def reserve(order):
    return {"order": order}

def charge(outputs):
    return outputs["reserve"]["order"] * 100

def ship(outputs):
    return f"shipped for {outputs['charge']}"
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A project with one flow; no database is named anywhere."""
    shell = Shell(tmp_path_factory.mktemp("project"))
    shell.write("pyproject.toml", "")
    shell.write("order.flow.yaml", FLOW)
    shell.write("shop.py", HANDLERS)
    return shell


def cases(shell: Shell, text: str, name: str = "order.test.yaml") -> Path:
    """Write a test file of the flow."""
    for old in shell.folder.glob("*.test.yaml"):
        old.unlink()
    body = indent(dedent(text).strip("\n"), "  ")
    return shell.write(name, f"flow: order\ncases:\n{body}\n")


def test_steps_without_a_mock_call_their_handlers(shell: Shell) -> None:
    """What is not mocked is the flow as it is, with the arguments of its `with`."""
    cases(
        shell,
        """
          as_it_is:
            input: {order_id: 7}
            expect:
              output: {ship: shipped for 700}
              steps: {reserve: {status: completed, with: {order: 7}}}
        """,
    )

    result = shell("test")

    assert result.out.startswith("✓ order.test.yaml as_it_is")
    assert "1 passed" in result.out


def test_hours_between_attempts_pass_at_once(shell: Shell) -> None:
    """Three waits of up to seven hours are no time at all; the error is the mock's."""
    cases(
        shell,
        """
          declined:
            input: {order_id: 7}
            mocks: {charge: {raises: {type: CardDeclined, message: no money}}}
            expect:
              status: failed
              steps: {charge: failed, ship: skipped}
              attempts: {charge: 4}
              error: {type: CardDeclined, message: no money}
          third_time:
            input: {order_id: 7}
            mocks: {charge: [{raises: Busy}, {raises: Busy}, real]}
            expect: {attempts: {charge: 3}, outputs: {charge: 700}}
        """,
    )

    found = shell("test", "--json").json["files"][0]["cases"]

    assert [case["status"] for case in found] == ["passed", "passed"]
    assert all(case["seconds"] < 5 for case in found)


def test_a_difference_is_shown_where_it_is_expected(shell: Shell) -> None:
    """Expected and actual, under a caret in the test file; exit 1."""
    cases(
        shell,
        """
          wrong:
            input: {order_id: 7}
            expect:
              outputs: {charge: 800}
        """,
    )

    result = shell("test", expect=1)

    assert "order.test.yaml:6:25: error[PF520]" in result.out
    assert 'the output of "charge": expected 800, got 700' in result.out
    assert result.out.endswith("s\n")
    assert "1 failed" in result.out


def test_a_failure_nobody_expects_is_one(shell: Shell) -> None:
    """A case that does not speak of the run's status wants it completed."""
    cases(
        shell,
        """
          silent:
            input: {order_id: 7}
            mocks: {reserve: {raises: PermanentError}}
            expect:
              attempts: {reserve: 1}
        """,
    )

    result = shell("test", expect=1)

    assert "the run failed, and the case does not say that it may" in result.out
    assert 'step "reserve": PermanentError' in result.out


def test_cases_are_chosen_by_words(shell: Shell) -> None:
    """`-k` joins words of names with and, or, not; what cannot be read is exit 2."""
    expect = "{input: {order_id: 1}, expect: {status: completed}}"
    cases(shell, f"  one: {expect}\n  two: {expect}\n  one_more: {expect}\n")

    assert "2 passed" in shell("test", "-k", "one").out
    assert "2 passed" in shell("test", "-k", "two or (one and not more)").out
    for unreadable in ("one and", "(", "one or ("):
        said = shell("test", "-k", unreadable, expect=2).err
        assert f'-k "{unreadable}" cannot be read' in said
        assert "write words joined by" in said


def test_junit_has_every_case(shell: Shell) -> None:
    """A testcase each; a failure has the frames as its text. The folder is made, as by -o."""
    cases(
        shell,
        """
          good: {input: {order_id: 1}, expect: {status: completed}}
          "b<d & ]]>": {input: {order_id: 1}, expect: {status: failed}}
        """,
    )

    shell("test", "--junit", "reports/found.xml", expect=1)

    root = ET.parse(shell.folder / "reports" / "found.xml").getroot()
    suite = root[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert [case.get("name") for case in suite] == ["good", "b<d & ]]>"]
    assert 'expected "failed", got "completed"' in (suite[1][0].text or "")


def test_mistakes_in_a_test_file_have_their_place(shell: Shell) -> None:
    """All of them at once, as in flow files; nothing is played."""
    cases(
        shell,
        """
          typing:
            input: {order_id: 7}
            mock: {charge: {output: 1}}
            expect: {statsu: completed, steps: {shp: completed}}
        """,
    )

    result = shell("test", expect=1)

    assert '"mock" in case "typing" is called "mocks" here' in result.err
    assert 'unknown key "statsu" in `expect`; did you mean "status"?' in result.err


def test_steps_that_do_not_exist_are_answered(shell: Shell) -> None:
    """In mocks and in expectations, with the nearest step."""
    cases(
        shell,
        """
          typing:
            input: {order_id: 7}
            mocks: {chrge: {output: 1}}
            expect: {steps: {shp: completed}}
        """,
    )

    result = shell("test", expect=1)

    assert 'flow "order" has no step "chrge"; did you mean "charge"?' in result.err
    assert 'flow "order" has no step "shp"; did you mean "ship"?' in result.err


def test_a_refused_input_is_told(shell: Shell) -> None:
    """The flow's own sentence, at the input."""
    cases(shell, "  wrong: {input: {order: 7}, expect: {status: completed}}\n")

    result = shell("test", expect=1)

    assert "the flow refuses this input: order: is not an input of this flow" in result.out


def test_a_step_that_cannot_be_called_wants_a_mock(shell: Shell) -> None:
    """A handler that is not there is no failure of the run, but of the case."""
    shell.write("lonely.flow.yaml", "flow: lonely\nsteps:\n  a: {handler: nowhere.work}\n")
    cases(shell, "", name="order.test.yaml")
    shell.write("lonely.test.yaml", "flow: lonely\ncases:\n  one: {expect: {status: failed}}\n")

    result = shell("test", "lonely.test.yaml", expect=1)

    assert 'step "a" has no mock, and its handler "nowhere.work"' in result.out
    assert "add `a: {output: …}` to the mocks" in result.out


def test_a_flow_that_is_not_there_is_told(shell: Shell) -> None:
    """With the names of those that are."""
    cases(shell, "")
    shell.write("other.test.yaml", "flow: ordr\ncases:\n  one: {expect: {status: failed}}\n")

    result = shell("test", "other.test.yaml", expect=1)

    assert 'there is no flow "ordr" beside other.test.yaml; did you mean "order"?' in result.err


def test_nothing_to_test_is_a_usage_error(tmp_path: Path) -> None:
    """An empty folder and a file that is not there are exit 2."""
    assert "there is no *.test.yaml in this folder" in Shell(tmp_path)("test", expect=2).err
    assert 'there is no file "x.test.yaml"' in Shell(tmp_path)("test", "x.test.yaml", expect=2).err


def test_a_run_that_did_not_end_disturbs_no_other_case(shell: Shell) -> None:
    """What is left of it, an hour later, is not played on in the next case."""
    steps = "  a: {handler: nowhere.work}\n  b: {handler: nowhere.work, start_delay: 1h}\n"
    shell.write("lonely.flow.yaml", f"flow: lonely\nsteps:\n{steps}")
    shell.write(
        "lonely.test.yaml",
        "flow: lonely\ncases:\n  alone: {expect: {status: failed}}\n"
        "  fine: {mocks: {a: {output: 1}, b: {output: 1}}, expect: {output: {a: 1}}}\n"
        "  fine_too: {mocks: {a: {output: 2}, b: {output: 1}}, expect: {output: {a: 2}}}\n",
    )

    found = shell("test", "lonely.test.yaml", "--json", expect=1).json["files"][0]["cases"]

    assert [case["status"] for case in found] == ["failed", "passed", "passed"]


def test_what_handlers_print_is_no_part_of_the_result(shell: Shell) -> None:
    """Stdout parses as JSON whatever they say."""
    shell.write("noisy.py", "def work():\n    print('noise')\n    return 1\n")
    shell.write("noisy.flow.yaml", "flow: noisy\nsteps:\n  a: {handler: noisy.work}\n")
    shell.write("noisy.test.yaml", "flow: noisy\ncases:\n  one: {expect: {output: {a: 1}}}\n")

    result = shell("test", "noisy.test.yaml", "--json")

    assert result.json["files"][0]["cases"][0]["status"] == "passed"
    assert "noise" in result.err
