"""Files made to hurt: bombs are refused at once, and no input raises anything (S-1, S-2)."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.flows import ROOT, check

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
SEEDS = [path.read_bytes() for path in sorted((ROOT / "tests/examples").glob("*/*.yaml"))]


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str) -> None:
    """Nothing is built before its size is known: 100 ms, at three times the figure."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(3):
        start = time.perf_counter()
        checked = check(BOMBS[name])
        times.append(time.perf_counter() - start)

    assert checked.flow is None
    assert checked.errors
    assert all(finding.help and finding.span for finding in checked.errors)
    assert min(times) < 3 * 0.1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50 * 1024


def test_a_bomb_costs_a_fresh_process_little_memory() -> None:
    """The whole process stays small, the interpreter included."""
    program = (
        "import json, resource, sys\n"
        "from pgflow_yaml import validation\n"
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


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing(content: bytes) -> None:
    """Whatever is in a file, there are findings or a flow."""
    checked = check(content)

    assert checked.errors or checked.flow is not None


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


@settings(max_examples=400, deadline=1000)
@given(mutations())
def test_mutated_flows_give_findings_with_places_inside_the_file(content: bytes) -> None:
    """Every finding has a place that exists and a fix, quickly."""
    start = time.perf_counter()
    checked = check(content)
    took = time.perf_counter() - start

    # The aim is 100 ms; the bound leaves room for a busy machine.
    assert took < 0.5
    lines = checked.source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for finding in checked.diagnostics:
        span = finding.span
        assert span is not None
        assert 1 <= span.line <= span.end_line <= len(lines)
        assert 1 <= span.column <= len(lines[span.line - 1]) + 1
        assert finding.help, finding


def test_the_loader_never_builds_python_objects() -> None:
    """No module of the package uses a constructing YAML loader (S-1)."""
    for path in sorted(Path(ROOT / "pgflow_yaml").rglob("*.py")):
        text = path.read_text()
        assert "yaml.load(" not in text, path
        assert "unsafe_load" not in text, path
        assert "FullLoader" not in text, path
