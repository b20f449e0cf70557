"""The YAML loader: YAML 1.2 values, positions of values, and refused texts."""

from __future__ import annotations

import pytest

from pgflow_yaml.language import source
from pgflow_yaml.language.source import MappingNode, ScalarNode


def data_of(text: str) -> object:
    """Return the plain data of a text without findings."""
    document = source.parse(text)
    assert [finding.message for finding in document.diagnostics] == []
    assert document.root is not None
    return document.root.data()


def finding_of(text: str) -> tuple[str, str, int, int]:
    """Return code, message, line and column of the only finding."""
    (finding,) = source.parse(text).diagnostics
    assert finding.span is not None
    return finding.code, finding.message, finding.span.line, finding.span.column


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("YES", "YES"),
        ("12:30", "12:30"),
        ("2026-11-24", "2026-11-24"),
        ("1_000", "1_000"),
        ("1.2.3", "1.2.3"),
        ("0b1", "0b1"),
        ("-", None),
        ("~", None),
        ("null", None),
        ("", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("0o17", 15),
        ("0xFF", 255),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.0", 1.0),
        ('"1"', "1"),
        ("'true'", "true"),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(written: str, value: object) -> None:
    """Only JSON's constants and numbers are more than texts (P8)."""
    if written == "-":
        assert data_of("a:\n  -\n") == {"a": [value]}
        return

    values = data_of(f"a: {written}\n")

    assert values == {"a": value}
    assert isinstance(values, dict)
    assert type(values["a"]) is type(value)


@pytest.mark.parametrize(
    "text",
    ["3.10", "1.50", "007", "-01", "0.12345678901234567891", "9007199254740993.0", "1e-400"],
)
def test_a_number_whose_text_does_not_come_back_is_warned_of(text: str) -> None:
    """A version or a code without quotes loses its zeros."""
    (finding,) = source.parse(f"a: {text}\n").diagnostics

    assert (finding.code, finding.severity) == ("PF022", "warning")
    assert finding.help is not None
    assert f'"{text}"' in finding.help


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan", "1e999", "9" * 301, "1." + "0" * 300])
def test_a_number_that_json_does_not_have_is_refused(text: str) -> None:
    """Infinity, not-a-number and numbers of hundreds of digits stop here."""
    assert finding_of(f"a: {text}\n")[0] == "PF019"


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", "PF011", 3, 1),
        ("a: {b: 1, b: 2}\n", "PF011", 1, 11),
        ("<<: {}\n", "PF015", 1, 1),
        ("a: !!python/object:os.system x\n", "PF014", 1, 4),
        ("a: !x [1]\n", "PF014", 1, 4),
        ("1: a\n", "PF016", 1, 1),
        ("null: a\n", "PF016", 1, 1),
        ("? [a]\n: b\n", "PF016", 1, 3),
        ("a: 1\n---\nb: 1\n", "PF017", 2, 1),
        ("a: *b\n", "PF018", 1, 4),
        ("a: &b [1, *b]\n", "PF018", 1, 11),
        ("a: {{ b }}\n", "PF021", 1, 4),
        ("a: \ufeff1\n", "PF013", 1, 4),
        ("a: 1\nb: \x07\n", "PF013", 2, 4),
        ("a: \ud800\n", "PF013", 1, 4),
        ('a: "x\\0"\n', "PF013", 1, 4),
        ("a: [1\n", "PF010", 1, 4),
        ('a: "b\n', "PF010", 1, 4),
        ("a: b\n\tc: d\n", "PF010", 2, 1),
        ("a: @b\n", "PF010", 1, 4),
        ('a: "\\q"\n', "PF010", 1, 5),
        ("a: - b\n", "PF010", 1, 4),
        ("- a\nb: c\n", "PF010", 2, 1),
        ("a: 1\n- b\n", "PF010", 2, 1),
        ("{a: }}\n", "PF010", 1, 6),
        ("[,]\n", "PF010", 1, 2),
        ("a: 1\nbcd\n\n\n", "PF010", 2, 3),
    ],
)
def test_what_yaml_allows_or_not_is_refused_where_it_stands(
    text: str, code: str, line: int, column: int
) -> None:
    """Each finding has its code, its exact position and a fix."""
    (finding,) = source.parse(text).diagnostics

    assert finding.span is not None
    assert (finding.code, finding.span.line, finding.span.column) == (code, line, column)
    assert finding.help


def test_a_duplicate_key_names_both_lines() -> None:
    """The reader sees which two keys are meant (S-3)."""
    _, message, _, _ = finding_of("a: 1\nb: 2\na: 3\n")

    assert message == 'the key "a" stands twice here, in line 1 and line 3'


@pytest.mark.parametrize(
    "line",
    [
        "if: ! x",
        'a: "b" c',
        "a: %b",
        "a: 'it's'",
        "a: {b: 'c' d: e}",
        "? a: b: c",
        "a: !<x",
        "a: &",
        "a: *",
        "%FOO bar",
        "a: `b`",
        "a: b: c",
        "a: |x",
    ],
)
def test_broken_yaml_gives_one_located_finding_with_a_fix(line: str) -> None:
    """Every syntax error has one sentence, one position and one fix."""
    document = source.parse(f"flow: a\n{line}\n")

    (finding,) = document.diagnostics
    assert finding.help
    assert finding.span is not None
    assert finding.span.line == 2


def test_bytes_that_are_not_utf_8_are_located() -> None:
    """The position counts characters, and UTF-16 is named."""
    text, finding = source.decode("a: ä\nb: ".encode() + b"\xff\xfe")

    assert finding is not None
    assert finding.span is not None
    assert (finding.code, finding.span.line, finding.span.column) == ("PF013", 2, 4)
    assert text.startswith("a: ä")
    _, wide = source.decode("a: b".encode("utf-16"))
    assert wide is not None
    assert "UTF-16" in (wide.help or "")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: one two three\n", "three"),
        ("a: one\n  two\n  three\n", "three"),
        ('a: "one \\u00e4\\n \\"two\\" three"\n', "three"),
        ('a: "one \\\n   two three"\n', "three"),
        ('a: "one\n\n\n  two three"\n', "three"),
        ("a: 'it''s two three'\n", "three"),
        ("a: |\n  one\n    two three\n\n  four\n", "three"),
        ("a: |\n  one\n    two three\n\n  four\n", "four"),
        ("a: |2-\n   one two\n  three\n", "three"),
        ("a: >\n  one\n  two three\n\n  four\n", "four"),
        ("a: >-\n  one\n    more\n  three\n", "three"),
        ("a:\r\n  - 'one\r\n    three'\r\n", "three"),
        ("a: &x !!str three\n", "three"),
        ("ä: 日本 three\n", "three"),
    ],
)
def test_an_offset_in_a_scalar_leads_to_its_place_in_the_file(text: str, word: str) -> None:
    """Quotes, escapes, folding and indentation do not move the caret."""
    document = source.parse(text)
    assert isinstance(document.root, MappingNode)
    ((_, node),) = document.root.entries.values()
    if not isinstance(node, ScalarNode):
        (node,) = node.items if not isinstance(node, MappingNode) else []
    assert isinstance(node, ScalarNode)

    start = node.text.index(word)
    span = document.part(node, start, start + len(word))

    line = document.lines.line(span.line)
    assert line[span.column - 1 : span.end_column - 1] == word
    assert span.line == span.end_line


def nested(depth: int, inner: str = "x") -> str:
    """Write a value inside so many brackets."""
    return "[" * depth + inner + "]" * depth


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        (f"[{'a,' * 49_999}]", True),
        (f"[{'a,' * 50_000}]", False),
        (f"- &a [{'x,' * 999}]\n" + "- *a\n" * 48, True),
        (f"- &a [{'x,' * 999}]\n" + "- *a\n" * 50, False),
        (nested(64), True),
        (nested(65), False),
        (f"- &a {nested(40)}\n- {nested(22, '*a')}\n", True),
        (f"- &a {nested(40)}\n- {nested(24, '*a')}\n", False),
        (f"- &a {nested(30)}\n- &b {nested(20, '*a')}\n- {nested(20, '*b')}\n", False),
        (f"- {'a' * 262_144}\n", True),
        (f"- {'a' * 262_145}\n", False),
        (f"- &a {'a' * 200_000}\n" + "- *a\n" * 19, True),
        (f"- &a {'a' * 200_000}\n" + "- *a\n" * 22, False),
        ("#" * 1_048_576, True),
        ("#" * 1_048_577, False),
        ("#" + "ä" * 524_288, False),
    ],
)
def test_the_limits_hold_exactly_aliases_written_out(text: str, fits: bool) -> None:  # noqa: FBT001
    """A text one below a limit is read, a text one above is refused (S-2)."""
    codes = [finding.code for finding in source.parse(text).diagnostics]

    assert codes == ([] if fits else ["PF012"])


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('with: {a: "${{ x }}", b: c: d}', "PF010"),
        ("with: {a: '${{ x }}', b: ${{ y }}}", "PF020"),
        ("with: [${{ y }}]", "PF020"),
        ("a: ${{ {'b': 1} }}", "PF023"),
        ("map: {a: 1}['a']", "PF024"),
        ("- if: 'a' == 'b'", "PF024"),
        ("if: a ? b : c", "PF023"),
        ("retry: {if: error.type in ['A', 'B']}", "PF025"),
        ("retry: {if: error.type in A, b: c: d}", "PF010"),
    ],
)
def test_traps_of_expressions_in_yaml_are_named(line: str, code: str) -> None:
    """The parser's complaint is replaced only where an unquoted expression is the cause."""
    (finding,) = source.parse(f"{line}\n").diagnostics

    assert finding.code == code


def test_aliases_share_one_value() -> None:
    """An anchor may be used many times; its value is built once."""
    assert data_of("a: &x {b: [1]}\nc: [*x, *x]\n") == {
        "a": {"b": [1]},
        "c": [{"b": [1]}, {"b": [1]}],
    }
