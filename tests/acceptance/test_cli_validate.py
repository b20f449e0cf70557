"""`validate`: every mistake of every file at once, for people, for CI and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "flow: good\nsteps:\n  a: {handler: tasks.work}\n"
BAD = """flow: bad
steps:
  a: {handler: tasks.work, dependson: [b]}
  b: {handler: tasks.work, timeout: soon}
"""
WARNED = "flow: warned\nsteps:\n  a: {handler: tasks.take, with: {version: 3.10}}\n"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with a few flows and a module of handlers; no database anywhere."""
    shell = Shell(tmp_path)
    shell.write("good.yaml", GOOD)
    shell.write("bad.yaml", BAD)
    shell.write("warned.yaml", WARNED)
    shell.write("tasks.py", "def work(): ...\ndef take(version): ...\ndef two(a, b): ...\n")
    return shell


def test_a_valid_file_is_named_with_its_flow(shell: Shell) -> None:
    """Exit 0 and one line a file; with -q nothing."""
    assert shell("validate", "good.yaml").out == "good.yaml: good, 1 step, valid\n"
    in_words = shell("validate", "--format", "text", "good.yaml").out
    assert in_words == "good.yaml: good, 1 step, valid\n"
    assert shell("validate", "good.yaml", "-q").out == ""


def test_all_mistakes_of_all_files_come_in_one_go(shell: Shell) -> None:
    """Frames on stderr, nothing on stdout, exit 1, and a count at the end."""
    shell.write("worse.yaml", "flow: worse\nsteps: {a: {}}\n")

    result = shell("validate", "bad.yaml", "good.yaml", "worse.yaml", expect=1)

    assert result.out == ""
    for place in ("bad.yaml:3:28: error[", "bad.yaml:4:37: error[", "worse.yaml:2:"):
        assert place in result.err
    assert result.err.rstrip().endswith("3 errors in 2 files")


def test_json_has_every_field(shell: Shell) -> None:
    """The names are API: compared with what is written down here."""
    result = shell("validate", "--json", "bad.yaml", "good.yaml", expect=1).json

    bad, good = result["files"]
    assert set(bad) == {"file", "flow", "version", "diagnostics", "allow"}
    assert set(bad["diagnostics"][0]) == {
        "code",
        "severity",
        "message",
        "line",
        "column",
        "end_line",
        "end_column",
        "help",
        "replacement",
    }
    assert (bad["flow"], good["flow"], good["diagnostics"]) == (None, "good", [])
    assert len(good["version"]) == 12


def test_format_json_is_the_same_as_json(shell: Shell) -> None:
    """Two ways to ask, one answer."""
    asked = shell("validate", "--format", "json", "bad.yaml", expect=1)

    assert asked.out == shell("validate", "bad.yaml", "--json", expect=1).out


def test_github_gets_annotations(shell: Shell) -> None:
    """Asked for, or known from the environment; special characters are escaped."""
    shell.write("odd,name.yaml", BAD)

    asked = shell("validate", "--format", "github", "odd,name.yaml", expect=1)
    in_ci = Shell(shell.folder, env={"GITHUB_ACTIONS": "true"})

    first = asked.out.splitlines()[0]
    assert first.startswith("::error file=odd%2Cname.yaml,title=PF")
    assert ",line=3,col=28,endColumn=37::" in first
    assert "%0Ahelp: " in first
    assert in_ci("validate", "odd,name.yaml", expect=1).out == asked.out


def test_warnings_count_only_when_strict(shell: Shell) -> None:
    """They are printed and exit 0; with --strict exit 1."""
    assert "warning[" in shell("validate", "warned.yaml").err
    assert "1 warning in 1 file" in shell("validate", "--strict", "warned.yaml", expect=1).err


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("handler: tasks.missing", 'handler "tasks.missing"'),
        ("handler: nowhere.work", 'handler "nowhere.work"'),
        ("handler: tasks.two", "is called with one argument"),
        ("handler: tasks.two, with: {a: 1, c: 2}", 'no parameter "c"'),
        ("handler: tasks.two, with: {a: 1}", 'needs "b"'),
    ],
)
def test_handlers_are_checked_when_asked(shell: Shell, step: str, said: str) -> None:
    """--import finds what is missing, forbidden or called wrongly, with its place."""
    shell.write("h.yaml", f"flow: h\nsteps:\n  a: {{{step}}}\n")

    assert shell("validate", "h.yaml").code == 0
    result = shell("validate", "h.yaml", "--import", expect=1)

    assert "h.yaml:3:" in result.err
    assert said in result.err


@pytest.mark.parametrize("command", ["validate", "compile", "plan"])
def test_a_path_that_is_never_a_handler_needs_no_import(shell: Shell, command: str) -> None:
    """What no worker will ever call is refused before it is deployed."""
    shell.write("os.yaml", "flow: o\nsteps:\n  a: {handler: os.getcwd}\n")

    result = shell(command, "os.yaml", expect=1)

    assert "os.yaml:3:16: error[PF206]" in result.err
    assert "standard library" in result.err


def test_a_handler_elsewhere_needs_its_folder(shell: Shell) -> None:
    """--app-dir says where the modules are."""
    shell.write("lib/far.py", "def work(): ...\n")
    shell.write("f.yaml", "flow: f\nsteps: {a: {handler: far.work}}\n")

    shell("validate", "--import", "f.yaml", expect=1)
    shell("validate", "--import", "--app-dir", "lib", "f.yaml")


def test_the_project_may_allow_a_package(shell: Shell) -> None:
    """What --allow says can stand in pyproject.toml; other nonsense there is a usage error."""
    shell.write("s.yaml", "flow: s\nsteps: {a: {handler: rich.get_console}}\n")
    shell("validate", "--import", "s.yaml", expect=1)

    shell("validate", "--import", "--allow", "rich", "s.yaml")
    shell.write("pyproject.toml", '[tool.pgflow-yaml]\nallow = ["rich"]\n')
    shell("validate", "--import", "s.yaml")
    shell.write("pyproject.toml", "[tool.pgflow-yaml]\nallow = 1\n")
    assert "is a list" in shell("validate", "--import", "s.yaml", expect=2).err


def test_the_project_may_narrow_its_handlers(shell: Shell) -> None:
    """`handlers` in pyproject.toml names those that run; the others are reported with a place."""
    shell.write("shop/flows.py", "def go(): ...\n")
    shell.write("shop/tools.py", "def go(): ...\n")
    shell.write("n.yaml", "flow: n\nsteps:\n  a: {handler: shop.flows.go}\n")
    shell.write("o.yaml", "flow: o\nsteps:\n  a: {handler: shop.tools.go}\n")
    shell.write("pyproject.toml", '[tool.pgflow-yaml]\nhandlers = ["shop.flows"]\n')

    shell("validate", "--import", "n.yaml")
    result = shell("validate", "--import", "o.yaml", expect=1)

    assert "o.yaml:3:" in result.err
    assert "the setting `handlers` of this project allows only those below shop.flows" in result.err


def test_one_flow_in_two_files_is_a_mistake(shell: Shell) -> None:
    """Which one should be deployed?"""
    shell.write("again.yaml", GOOD)

    result = shell("validate", "good.yaml", "again.yaml", expect=1)

    assert "again.yaml:1:7: error[" in result.err
    assert "is in good.yaml, too" in result.err


def test_a_missing_file_is_a_usage_error(shell: Shell) -> None:
    """Exit 2 with the nearest name; of a folder its files are checked."""
    assert 'did you mean "good.yaml"?' in shell("validate", "god.yaml", expect=2).err
    assert "errors" in shell("validate", ".", expect=1).err


def test_at_most_twenty_frames_a_file(shell: Shell) -> None:
    """More are counted; JSON has all."""
    steps = "".join(f"  s{n}: {{handler: tasks.work, nope: 1}}\n" for n in range(50))
    shell.write("many.yaml", f"flow: many\nsteps:\n{steps}")

    result = shell("validate", "many.yaml", expect=1)

    assert result.err.count("error[") == 20
    assert "… and 30 more" in result.err
    found = shell("validate", "many.yaml", "--json", expect=1).json
    assert len(found["files"][0]["diagnostics"]) == 50


def test_an_ascii_terminal_gets_ascii_frames(shell: Shell) -> None:
    """The frame is drawn with what the encoding has."""
    old = Shell(shell.folder, env={"PYTHONIOENCODING": "ascii"})

    frame = old("validate", "bad.yaml", expect=1).err

    assert frame.isascii()
    assert "\n3 |   a: {handler" in frame
    assert "\\u" not in frame


def test_colour_follows_the_options(shell: Shell) -> None:
    """A pipe has none, --color always has, NO_COLOR none, FORCE_COLOR has."""
    assert "\x1b[" not in shell("validate", "bad.yaml", expect=1).err
    assert "\x1b[" in shell("validate", "bad.yaml", "--color", "always", expect=1).err
    for env, wanted in ({"NO_COLOR": "1"}, False), ({"FORCE_COLOR": "1"}, True):
        colored = Shell(shell.folder, env=env)
        assert ("\x1b[" in colored("validate", "bad.yaml", expect=1).err) is wanted


def test_test_files_are_checked_with_their_flows(shell: Shell) -> None:
    """`validate *.yaml` is right in a folder with tests; a flow's mistakes are shown once."""
    cases = "flow: good\ncases:\n  one: {expect: {steps: {a: completed}}}\n"
    shell.write("good.test.yaml", cases)

    fine = shell("validate", "good.yaml", "good.test.yaml")
    shell.write("good.test.yaml", cases.replace("steps: {a", "steps: {b"))
    unknown = shell("validate", "good.test.yaml", expect=1)
    shell.write("good.yaml", GOOD.replace("handler", "hanlder"))
    broken = shell("validate", "good.yaml", "good.test.yaml", expect=1)

    assert fine.out.splitlines() == [
        "good.yaml: good, 1 step, valid",
        "good.test.yaml: valid, not played (pgflow-yaml test)",
    ]
    assert "good.test.yaml:3:26: error[PF505]" in unknown.err
    assert broken.err.count("error[PF102]") == 1


def test_a_folder_stands_for_the_flow_files_below_it(shell: Shell) -> None:
    """Those are `*.flow.yaml`, tests, and others with a key `flow`; hidden folders are left out."""
    for name in ("flows/a.flow.yaml", "flows/deep/b.yaml", "flows/.cache/c.yaml"):
        shell.write(name, f"flow: {name[-6]}\nsteps: {{s: {{handler: tasks.work}}}}\n")
    shell.write("flows/compose.yaml", "services: {}\n")
    shell.write("flows/broken.flow.yaml", "name: x\n")
    shell.write("empty/compose.yaml", "services: {}\n")

    result = shell("validate", "flows", expect=1)

    assert "flows/broken.flow.yaml:1:1" in result.err
    assert "compose" not in result.err + result.out
    assert ".cache" not in result.err + result.out
    assert "flows/deep/b.yaml" in shell("validate", "flows/deep").out
    assert 'the folder "empty" has no flow file' in shell("validate", "empty", expect=2).err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("goood.yaml", "good.yaml"),
        ("good", "good.yaml"),
        ("good.flow.yaml", "good.yaml"),
        ("near.yaml", "nearer.yaml"),
        ("zzz.yaml", None),
        ("a", None),
        ("-", None),
        ("%00", None),
    ],
)
def test_a_file_is_suggested_only_when_its_name_is_near(
    shell: Shell, given: str, meant: str | None
) -> None:
    """An extension in common says nothing about what is meant; the nearest name counts."""
    for name in ("Nearer.flow.yaml", "nearer.yaml", "nearer.yml"):
        shell.write(name, "")
    said = shell("validate", "--", given, expect=2).err

    assert ("did you mean" in said) == (meant is not None)
    assert meant is None or f'did you mean "{meant}"?' in said


def test_annotations_name_files_from_the_root_of_the_repository(shell: Shell) -> None:
    """GitHub shows an annotation only at such a path, wherever the command was run."""
    shell.write("app/.keep", "")
    shell.write("app/odd.yaml", "flow: odd\nsteps: {}\n")
    (shell.folder / ".git").mkdir()
    inside = Shell(shell.folder / "app")

    for where, file in ((inside, "odd.yaml"), (shell, "app/odd.yaml")):
        said = where("validate", "--format", "github", file, expect=1).out
        assert said.startswith("::error file=app/odd.yaml,")
