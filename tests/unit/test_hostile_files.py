"""Files made to hurt: bombs are refused at once, and no input raises anything (S-1, S-2)."""

from __future__ import annotations

import gc
import re
import resource
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgflow_yaml.language.compiler import canonical, compile_flow
from pgflow_yaml.language.validation import Checked, check_flows
from tests.fixtures.effort import examples, patient
from tests.unit.flows import ROOT, SCHEMA, check

if TYPE_CHECKING:
    from pgflow_yaml.errors import Diagnostic

TEN = "[x,x,x,x,x,x,x,x,x,x]"
BOMBS = {
    "billion laughs": f"a0: &a0 {TEN}\n"
    + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)),
    "long text many times": f"x-a: &a '{'y' * 200_000}'\nx-b: [{','.join(['*a'] * 40_000)}]",
    "deep brackets": "x: " + "[" * 200_000,
    "deep braces": "{a: " * 100_000,
    "deep blocks": "".join(" " * n + "a:\n" for n in range(1000)),
    "deep by aliases": "".join(
        f"a{n}: &a{n} {'[' * 60}{f'*a{n - 1}' if n else 'x'}{']' * 60}\n" for n in range(9)
    ),
    "endless alias": "a: &x {b: [*x]}",
    "long scalar": "a: " + "b" * 1_000_000,
    "long escaped scalar": 'a: "' + "\\n" * 500_000 + '"',
    "too many bytes": "a" * 5_000_000,
    "question marks": "? " * 300_000,
    "dashes": "- " * 300_000,
    "python object": "!!python/object/apply:os.system ['true']\n",
    "open expression": f"flow: a\nsteps: {{a: {{handler: a.b, if: '{'(' * 3000}'}}}}",
}
# Files within every limit that would take seconds if what comes again were worked out again.
_LONG = "input.n == 1 or " * 60 + "input.n"
_HEAD = "flow: a\ninput: {n: {type: integer}}\n"
REPETITIONS = {
    "a template many times": _HEAD
    + "x-a: &a '${{ input.n + 1 }}'\nsteps:\n"
    + f"  a: {{handler: x.a, with: [{','.join(['*a'] * 49_000)}]}}\n",
    "a wrong template many times": _HEAD
    + "x-a: &a '${{ foo( }}'\nsteps:\n"
    + f"  a: {{handler: x.a, with: [{','.join(['*a'] * 49_000)}]}}\n",
    "a step many times": _HEAD
    + f"x-a: &a {{handler: x.a, if: {_LONG}}}\nsteps:\n"
    + "".join(f"  s{n}: *a\n" for n in range(2000)),
    "a condition many times": _HEAD
    + f"x-e: &e '{'-' * 45}1 / 0'\nsteps:\n"
    + "".join(f"  s{n}: {{handler: x.a, if: *e}}\n" for n in range(2000)),
    "unknown steps in a crowd": _HEAD
    + "steps:\n"
    + "".join(f"  s{n}: {{handler: x.a, depends_on: [zz{n}]}}\n" for n in range(2000)),
    "edges that contradict each other": _HEAD
    + "steps:\n  s0: {handler: x.a}\n"
    + "".join(
        f"  s{n}: {{handler: x.a, depends_on: {{s{n - 1}: {'failure' if n % 2 else 'any'}}}}}\n"
        for n in range(1, 2000)
    ),
}
SEEDS = [path.read_bytes() for path in sorted((ROOT / "tests/examples").glob("*/*.yaml"))]


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str) -> None:
    """Nothing is built before its size is known: 100 ms, at three times the figure."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(3):
        start = time.process_time()
        checked = check(BOMBS[name])
        times.append(time.process_time() - start)

    assert checked.flow is None
    assert checked.errors
    assert all(finding.help and finding.span for finding in checked.errors)
    assert min(times) < 3 * 0.1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50 * 1024


@pytest.mark.parametrize("name", REPETITIONS)
def test_what_comes_again_costs_nothing(name: str) -> None:
    """A file at the limits takes a fraction of a second of one core: 200 ms, at three times."""
    times = []
    gc.freeze()  # what other tests have left is not looked through
    for _ in range(3):
        start = time.process_time()
        check(REPETITIONS[name])
        times.append(time.process_time() - start)
    gc.unfreeze()

    assert min(times) < 3 * 0.2


def test_a_bomb_costs_a_fresh_process_little_memory() -> None:
    """The whole process stays small, the interpreter included."""
    program = (
        "import json, resource, sys\n"
        "from pgflow_yaml.language import validation\n"
        f"schema = json.load(open({str(ROOT / 'schemas/workflow.schema.json')!r}))\n"
        "text = sys.stdin.read()\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert validation.check(text, file='a', schema=schema).errors\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        input=BOMBS["billion laughs"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(done.stdout) < 50 * 1024


@patient
@settings(max_examples=examples(100))
@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing(content: bytes) -> None:
    """Whatever is in a file, there are findings or a flow."""
    checked = check(content)

    assert checked.errors or checked.flow is not None


@patient
@settings(max_examples=examples(100))
@given(st.text(alphabet="ab:{}[]\"'|>-#&*!%@`,? \n\t$.=<0", max_size=60))
def test_random_yaml_raises_nothing(text: str) -> None:
    """Characters that mean something to YAML, in any order."""
    check(text)
    check(f"flow: a\nsteps:\n  a: {{handler: x.a}}\n  b: {text}\n")


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Cut, repeat, replace or swap parts of an example file."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        new = draw(
            st.sampled_from(
                (
                    *(b"", b"x", b":", b": ", b"- ", b"[", b"}", b'"', b"'", b"\n", b"\n  "),
                    *(b"\t", b"${{ ", b" }}", b"&a ", b"*a", b"!t ", b"<<: ", b"#", b" #"),
                    *(b"\x00", b"\xff", "ä".encode(), "日".encode(), b"|\n", b">-\n"),
                    *(b"1.10", b"null", b"true"),
                )
            )
        )
        content[start:end] = new * draw(st.integers(1, 3))
    return bytes(content)


WORDS = sorted(
    {
        *("a", "b", "greet", "x.a", "input", "steps", "run", "item", "index", "output", "error"),
        *("secrets", "attempt", "iteration", "any", "failure", "success", "skip", "5%", "10m"),
        *("-1", "0.5", "1e400", "true", "null", "${{", "}}", "&&", "==", "in", "not", "for", "if"),
        *("steps.a.output", "input.n", "run.status", "secrets.KEY", "other@0123456789ab", "@x"),
        *SCHEMA["properties"],
        *SCHEMA["definitions"]["step"]["properties"],
        *SCHEMA["definitions"]["wait"]["properties"],
        *SCHEMA["definitions"]["repeat"]["properties"],
        *SCHEMA["definitions"]["retry"]["properties"],
        *SCHEMA["definitions"]["fieldSchema"]["properties"],
    }
)


@st.composite
def reworded(draw: st.DrawFn) -> bytes:
    """Replace words of an example by words of the language, and move its lines about."""
    lines = draw(st.sampled_from(SEEDS)).decode(errors="replace").split("\n")
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(("word", "drop", "twice", "indent", "outdent", "swap"))):
            case "word":
                parts = re.split(r"(\W+)", lines[at])
                parts[draw(st.integers(0, len(parts) - 1))] = draw(st.sampled_from(WORDS))
                lines[at] = "".join(parts)
            case "drop" if len(lines) > 1:
                del lines[at]
            case "twice":
                lines.insert(at, lines[at])
            case "indent":
                lines[at] = "  " + lines[at]
            case "outdent":
                lines[at] = lines[at].removeprefix("  ")
            case _:
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
    return "\n".join(lines).encode()


@patient
@settings(max_examples=examples(400), deadline=None)
@given(mutations() | reworded())
def test_mutated_flows_give_findings_with_places_inside_the_file(content: bytes) -> None:
    """No traceback, 100 ms, 50 MB; every finding has a position in the file, and a fix."""
    tracemalloc.start()
    start = time.process_time()
    checked = check(content)
    diagnostics = [*checked.diagnostics, *_between(checked)]
    took = time.process_time() - start
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # Tracing doubles the time; three times the figure leaves room for a busy machine.
    assert took < 2 * 3 * 0.1
    assert most < 50 * 1024 * 1024
    lines = checked.source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for finding in diagnostics:
        span = finding.span
        assert span is not None
        assert 1 <= span.line <= span.end_line <= len(lines)
        assert 1 <= span.column <= len(lines[span.line - 1]) + 1
        assert finding.help, finding


def _between(checked: Checked) -> list[Diagnostic]:
    """Compile what is valid, and look for its children."""
    if checked.flow is None:
        return []
    definition = compile_flow(checked.flow, source=checked.source)
    assert canonical(definition.body)
    return check_flows([definition], stored={"other": definition.body})[0]


def test_the_loader_never_builds_python_objects() -> None:
    """No module of the package uses a constructing YAML loader (S-1)."""
    for path in sorted(Path(ROOT / "pgflow_yaml").rglob("*.py")):
        text = path.read_text()
        assert "yaml.load(" not in text, path
        assert "unsafe_load" not in text, path
        assert "FullLoader" not in text, path
