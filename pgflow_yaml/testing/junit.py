"""Write results as JUnit XML, which CI systems read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from pgflow_yaml.language.frames import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgflow_yaml.errors import Diagnostic
    from pgflow_yaml.testing.running import Result, TestedFile

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(results: Sequence[tuple[TestedFile, Sequence[Result]]], seconds: float) -> str:
    """Return one testsuite per file; a file with mistakes has one erroneous testcase."""
    suites = "\n".join(line for tested, cases in results for line in _suite(tested, cases))
    time = f'time="{seconds:.3f}"'
    text = f'<testsuites name="pgflow-yaml" {time}>\n{suites}\n</testsuites>'
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        + _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
        + "\n"
    )


def _suite(tested: TestedFile, results: Sequence[Result]) -> Iterator[str]:
    mistakes = list(tested.diagnostics)
    mistakes += tested.flow_error.diagnostics if tested.flow_error else ()
    counts = {
        "tests": len(results) + bool(mistakes),
        "failures": sum(not result.passed for result in results),
        "errors": int(bool(mistakes)),
        "skipped": 0,
        "time": f"{sum(result.seconds for result in results):.3f}",
    }
    attributes = " ".join(f'{name}="{value}"' for name, value in counts.items())
    yield f"  <testsuite name={quoteattr(tested.file)} {attributes}>"
    if mistakes:
        yield from _case(tested, "the file", 0.0, kind="error", findings=mistakes)
    for result in results:
        yield from _case(
            tested, result.name, result.seconds, kind="failure", findings=result.diagnostics
        )
    yield "  </testsuite>"


def _case(
    tested: TestedFile, name: str, seconds: float, *, kind: str, findings: Sequence[Diagnostic]
) -> Iterator[str]:
    head = f"    <testcase classname={quoteattr(tested.file)} name={quoteattr(name)}"
    line = f' line="{findings[0].span.line}"' if findings and findings[0].span else ""
    head += f' file={quoteattr(tested.file)}{line} time="{seconds:.3f}"'
    if not findings:
        yield f"{head}/>"
        return
    yield f"{head}>"
    frames = (render(finding, file=tested.file, source=tested.source) for finding in findings)
    text = escape("\n\n".join(frames))
    yield f"      <{kind} message={quoteattr(findings[0].message)}>{text}</{kind}>"
    yield "    </testcase>"
