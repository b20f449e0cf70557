"""Test files: every mistake at its position, and an editor schema that agrees with the reader."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from pgflow_yaml.language import frames, source
from pgflow_yaml.testing import mock_reading, reading
from pgflow_yaml.testing.running import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests" / "examples" / "tests"
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "test.schema.json").read_text())
LIBRARY = Draft7Validator(SCHEMA)
INVALID = sorted((EXAMPLES / "invalid").glob("*.test.yaml"))
VALID = sorted((EXAMPLES / "valid").glob("*.test.yaml"))


def data_of(path: Path) -> Any:
    """The plain data of a test file."""
    root = source.parse(path.read_text()).root
    assert root is not None
    return root.data()


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value in the data."""
    yield path
    keys: list[Any] = list(value) if isinstance(value, dict) else []
    keys = list(range(len(value))) if isinstance(value, list) else keys
    for key, inner in ((key, value[key]) for key in keys):
        yield from paths(inner, (*path, key))


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_an_invalid_test_file_shows_exactly_its_frames(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All findings of a file come at once, in reading order, with carets where they belong."""
    monkeypatch.chdir(path.parent)

    tested = prepare(Path(path.name))

    shown = "\n\n".join(
        frames.render(finding, file=path.name, source=tested.source)
        for finding in tested.diagnostics
    )
    assert tested.suite is None
    assert shown + "\n" == path.with_suffix(".expected.txt").read_text()


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_a_valid_test_file_is_read_without_a_finding(path: Path) -> None:
    """By us and by the schema that editors use."""
    read = reading.read_suite(path.read_bytes(), file=path.name)

    assert [finding.message for finding in read.diagnostics] == []
    assert read.suite is not None
    assert list(LIBRARY.iter_errors(data_of(path))) == []


def test_the_schema_has_the_keys_of_the_reader() -> None:
    """No key that an editor offers is refused, and none that we read is underlined."""
    definitions = SCHEMA["definitions"]
    expected_step = definitions["expectedStep"]["anyOf"][1]
    raises = definitions["play"]["properties"]["raises"]["anyOf"][1]

    assert tuple(SCHEMA["properties"]) == reading.FILE_KEYS
    assert tuple(definitions["case"]["properties"]) == reading.CASE_KEYS
    assert tuple(definitions["expect"]["properties"]) == reading.EXPECT_KEYS
    assert tuple(expected_step["properties"]) == reading.STEP_KEYS
    assert set(definitions["play"]["properties"]) == set(mock_reading.MOCK_KEYS)
    assert tuple(raises["properties"]) == mock_reading.RAISES_KEYS
    assert tuple(definitions["stepStatus"]["enum"]) == reading.STEP_STATUSES
    assert tuple(definitions["expect"]["properties"]["status"]["enum"]) == reading.RUN_STATUSES


def test_every_key_of_the_schema_is_described() -> None:
    """The text that an editor shows on hover is never empty."""

    def undescribed(schema: Any, path: str) -> Iterator[str]:
        for name, inner in schema.get("properties", {}).items():
            target = inner.get("$ref", "").rpartition("/")[2]
            known = SCHEMA["definitions"].get(target, {})
            if "description" not in {**known, **inner} and target != "stepStatus":
                yield f"{path}.{name}"
        for key in ("definitions", "properties"):
            for name, inner in schema.get(key, {}).items():
                yield from undescribed(inner, f"{path}.{name}")
        for index, inner in enumerate(schema.get("anyOf", ())):
            yield from undescribed(inner, f"{path}[{index}]")

    assert list(undescribed(SCHEMA, "")) == []


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_the_reader_accepts_the_schema_accepts(data: st.DataObject) -> None:
    """A valid file with one value exchanged or one key renamed: an editor shows no false error."""
    changed = copy.deepcopy(data_of(VALID[0]))
    path = data.draw(st.sampled_from([path for path in paths(changed) if path]))
    value = data.draw(
        st.sampled_from([None, True, 0, -1, 1.5, "", "a", "5m", "real", [], [1], {}, {"a": 1}])
    )
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()) and isinstance(holder, dict):
        holder[data.draw(st.sampled_from(["x-a", "status", "output", "7"]))] = holder.pop(path[-1])
    else:
        holder[path[-1]] = value

    read = reading.read_suite(json.dumps(changed).encode(), file="x")

    if not read.diagnostics:
        assert [error.message for error in LIBRARY.iter_errors(changed)] == []


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_text_breaks_the_reader(data: st.DataObject) -> None:
    """Pieces of test files cut out, doubled, and typed into: findings, never an exception."""
    text = data.draw(st.sampled_from([*VALID, *INVALID])).read_text()
    start, end = sorted(data.draw(st.integers(0, len(text))) for _ in range(2))
    typed = data.draw(st.sampled_from(["", ": ", "- ", "{", "]", "&a", "*a", '"', "\n  ", "\x00"]))
    again = text[start:end] if data.draw(st.booleans()) else ""
    text = text[:start] + typed + again + text[end:]

    with tempfile.TemporaryDirectory() as folder:
        for name in ("release.flow.yaml", "region.flow.yaml"):
            shutil.copy(EXAMPLES / "invalid" / name, folder)
        path = Path(folder, "x.test.yaml")
        path.write_text(text, encoding="utf-8")
        tested = prepare(path)

    assert tested.suite is not None or tested.diagnostics or tested.flow_error
