"""--input takes JSON, @file or name=value, and shows every mistake where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest

from pgflow_yaml.cli.run_input import read_input
from pgflow_yaml.errors import InvalidFlow

if TYPE_CHECKING:
    from pathlib import Path

    from pgflow_yaml.language.model import Json

SPEC: dict[str, Json] = {
    "order_id": {"type": "integer"},
    "name": {"type": "string", "default": "x"},
    "items": {"type": "array", "items": {"type": "object"}, "default": []},
}
FLOW: dict[str, Any] = {"flow": "a", "input": SPEC, "steps": {}}


def refused(*texts: str) -> list[tuple[str, str, str | None]]:
    """What is wrong: the file, the message, and the text under the caret."""
    with pytest.raises(InvalidFlow) as caught:
        read_input(texts, FLOW)
    lines = caught.value.source.split("\n")
    found = []
    for finding in caught.value.diagnostics:
        span = finding.span
        marked = lines[span.line - 1][span.column - 1 : span.end_column - 1] if span else None
        found.append((caught.value.file, finding.message, marked))
    return found


def test_pairs_are_read_by_the_type_of_their_field() -> None:
    """`7` is a number for an integer and a text for a string."""
    assert read_input(["order_id=7", "name=7"], FLOW) == {"order_id": 7, "name": "7"}


def test_json_a_file_and_pairs_give_the_same(tmp_path: Path) -> None:
    """Three ways to write it; a pair is put over what the JSON says."""
    file = tmp_path / "input.json"
    file.write_text('{"order_id": 7, "name": "ada"}')
    wanted = {"order_id": 7, "name": "ada"}

    assert read_input([file.read_text()], FLOW) == wanted
    assert read_input([f"@{file}"], FLOW) == wanted
    assert read_input(['{"order_id": 6}', "name=ada", "order_id=7"], FLOW) == wanted


def test_a_mistake_in_json_has_its_place() -> None:
    """The caret is under the value, also deep in an array."""
    assert refused('{"order_id": "seven",\n "items": [{}, 3], "nam": 1}') == [
        ("--input", 'nam is not an input of this flow; did you mean "name"?', '"nam"'),
        ("--input", 'order_id must be integer, not the string "seven"', '"seven"'),
        ("--input", "items[1] must be object, not the number 3", "3"),
    ]


def test_a_mistake_in_a_pair_has_its_place() -> None:
    """The caret is under what stands after the equals sign."""
    assert refused("name=ada", "order_id=seven") == [
        ("--input", 'order_id must be integer, not the string "seven"', "seven")
    ]


def test_what_is_missing_is_named_without_a_place() -> None:
    """A field that is not there has no column."""
    assert refused("name=ada") == [("--input", "order_id is required (integer)", None)]


def test_broken_json_has_line_and_column() -> None:
    """The place where the reader gave up."""
    ((file, message, marked),) = refused('{"order_id": 7,\n "name": }')

    assert (file, marked) == ("--input", "}")
    assert message.startswith("the input is not JSON")


def test_a_key_that_stands_twice_in_json_is_refused_at_its_second_place(tmp_path: Path) -> None:
    """JSON is held to the same rule as flow files (S-3): no key is dropped in silence."""
    message = 'the input is not JSON: the key "a" stands twice in its object'
    file = tmp_path / "input.json"
    file.write_text('{"order_id": 7,\n "items": [{"a": 3, "a": 4}]}')

    assert refused(file.read_text()) == [("--input", message, '"a"')]
    assert refused(f"@{file}") == [(str(file), message, '"a"')]
    with pytest.raises(InvalidFlow) as caught:
        read_input([f"@{file}"], FLOW)
    (finding,) = caught.value.diagnostics
    assert finding.span is not None
    assert (finding.span.line, finding.span.column) == (2, 21)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity"])
def test_a_number_that_is_none_is_shown_where_it_stands(number: str) -> None:
    """It is neither an infinite integer nor a second mistake of the same field."""
    ((_, message, marked),) = refused(f'{{"order_id": {number}}}')
    assert (message.startswith(f"the input is not JSON: {number} is "), marked) == (True, number)

    ((_, message, marked),) = refused(f"order_id={number}")
    assert (message.startswith(f"order_id cannot be taken: {number} is "), marked) == (True, number)


@pytest.mark.parametrize("text", ['{"order_id": NaN}', "[" * 100_000, "[1]"])
def test_what_is_no_object_of_json_is_refused(text: str) -> None:
    """NaN, bottomless nesting and lists are findings, not tracebacks."""
    assert refused(text)


@pytest.mark.parametrize(
    "texts", [["@no-such-file.json"], ["{}", "{}"]], ids=["missing file", "two texts"]
)
def test_a_wrong_use_of_the_option_is_a_usage_error(texts: list[str]) -> None:
    """Exit 2, as for other options."""
    with pytest.raises(click.UsageError):
        read_input(texts, FLOW)


def test_a_flow_without_input_takes_none() -> None:
    """A field for a flow that declares none is refused."""
    with pytest.raises(InvalidFlow, match="which takes none"):
        read_input(["a=1"], {"flow": "a"})
    assert read_input([], {"flow": "a"}) == {}


def test_an_input_that_is_no_object_is_held_against_its_schema() -> None:
    """`input_schema` says what the whole input is; name=value cannot be added to a list."""
    flow = {"input_schema": {"type": "array", "items": {"type": "integer"}}}

    assert read_input(["[1, 2]"], flow) == [1, 2]
    with pytest.raises(InvalidFlow, match=r"\[1\] must be integer"):
        read_input(['[1, "b"]'], flow)
    with pytest.raises(InvalidFlow, match="the input must be array, not object"):
        read_input([], flow)
    with pytest.raises(click.UsageError, match="only to an object"):
        read_input(["[1]", "a=2"], flow)


@pytest.mark.parametrize("text", ["1e3", "1000.0", "10.00e2"])
def test_a_whole_number_is_an_integer_in_an_integer_field(text: str, tmp_path: Path) -> None:
    """However it is written, also deep in JSON: a handler may count with it."""
    flow = {"input": {"n": {"type": "integer"}, "deep": {"type": "array", "items": NUMBERS}}}
    file = tmp_path / "input.json"
    file.write_text(f'{{"n": {text}, "deep": [{{"n": {text}, "x": 1000.0}}]}}')

    for texts in ([f"@{file}"], [f"n={text}", f'deep=[{{"n": {text}, "x": 1000.0}}]']):
        value: Any = read_input(texts, flow)
        assert value == {"n": 1000, "deep": [{"n": 1000, "x": 1000}]}
        numbers = (value["n"], value["deep"][0]["n"], value["deep"][0]["x"])
        assert [type(number) for number in numbers] == [int, int, float]


NUMBERS: Json = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "x": {"type": "number"}},
}


def test_a_byte_order_mark_is_no_part_of_json(tmp_path: Path) -> None:
    """Editors and shells of Windows write it, and positions do not count it."""
    file = tmp_path / "input.json"
    file.write_bytes(b'\xef\xbb\xbf{"order_id": 7}')

    assert read_input([f"@{file}"], FLOW) == {"order_id": 7}
    file.write_bytes(b'\xef\xbb\xbf{"order_id": ?}')
    with pytest.raises(InvalidFlow) as caught:
        read_input([f"@{file}"], FLOW)
    (finding,) = caught.value.diagnostics
    assert finding.span is not None
    assert finding.span.column == 14


def test_a_file_in_another_encoding_is_refused_with_the_fix(tmp_path: Path) -> None:
    """PowerShell redirects to UTF-16."""
    file = tmp_path / "input.json"
    file.write_text('{"order_id": 7}', encoding="utf-16")

    with pytest.raises(click.UsageError, match="is not UTF-8 text: save the file as UTF-8; it lo"):
        read_input([f"@{file}"], FLOW)


FIELDS: dict[str, Json] = {
    "n": {"type": "integer"},
    "x": {"type": "number"},
    "flag": {"type": ["boolean", "null"]},
    "list": {"type": "array"},
    "object": {"type": "object"},
    "name": {"type": "string", "minLength": 3},
}
DEFAULTS: dict[str, Any] = {
    "input": {name: {**schema, "default": None} for name, schema in FIELDS.items()}  # type: ignore[dict-item]
}


@pytest.mark.parametrize(
    ("pair", "fix"),
    [
        ("n=ten", "write a whole number, such as n=10"),
        ("n=1.5", "write a whole number, such as n=10"),
        ("n=+05", "write n=5"),
        ("n=1,000", "write n=1000"),
        ("n=1e400", "write a whole number, such as n=10"),
        ("x=1,5", "write x=1.5"),
        ("x=", "write x=1.5"),
        ("flag=Yes", "write flag=true"),
        ("flag=0", "write flag=false"),
        ("flag=maybe", "write flag=true or flag=false"),
        ("list=1,b", "write list='[1, \"b\"]'"),
        ("list=[a,b]", 'write list=\'["a", "b"]\''),
        ("object=key:1", 'write an object, such as object=\'{"key": "value"}\''),
        ("n", "write n=10"),
        ("flag", "write flag=true or flag=false"),
        ("name=ab", None),
        ("nam=abc", None),
    ],
)
def test_a_refused_pair_says_what_to_write(pair: str, fix: str | None) -> None:
    """In the words of a shell, as near to what stands there as can be."""
    with pytest.raises(InvalidFlow) as caught:
        read_input([pair], DEFAULTS)

    (finding,) = caught.value.diagnostics
    assert finding.help == fix


def test_a_field_that_is_missing_says_how_to_give_it(tmp_path: Path) -> None:
    """On the command line; in a JSON text its name says enough. A file is named with its @."""
    with pytest.raises(InvalidFlow) as caught:
        read_input([], FLOW)
    assert [finding.help for finding in caught.value.diagnostics] == ["write --input order_id=10"]
    file = tmp_path / "input.json"
    file.write_text("{}")
    with pytest.raises(InvalidFlow) as caught:
        read_input([str(file)], FLOW)
    assert caught.value.diagnostics[0].help == f"write @{file} to read the file"
