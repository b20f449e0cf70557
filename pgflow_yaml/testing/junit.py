"""Results as JUnit XML, which CI systems read."""

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
    """Write one testsuite a file; a file with mistakes has one erroneous testcase."""
    suites = "\n".join(line for each, found in results for line in _suite(each, found))
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
        yield from _case(tested, "the file", 0.0, kind="error", found=mistakes)
    for result in results:
        yield from _case(
            tested, result.name, result.seconds, kind="failure", found=result.diagnostics
        )
    yield "  </testsuite>"


def _case(
    tested: TestedFile, name: str, seconds: float, *, kind: str, found: Sequence[Diagnostic]
) -> Iterator[str]:
    head = f"    <testcase classname={quoteattr(tested.file)} name={quoteattr(name)}"
    line = f' line="{found[0].span.line}"' if found and found[0].span else ""
    head += f' file={quoteattr(tested.file)}{line} time="{seconds:.3f}"'
    if not found:
        yield f"{head}/>"
        return
    yield f"{head}>"
    text = "\n\n".join(render(each, file=tested.file, source=tested.source) for each in found)
    yield f"      <{kind} message={quoteattr(found[0].message)}>{escape(text)}</{kind}>"
    yield "    </testcase>"
