"""The JSON boundary: what may be an output, and error records that never fail (R-9)."""

from __future__ import annotations

import datetime as dt
import enum
import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgflow_yaml.worker.calls import Unserialisable, clean, error_record, to_json_text

PLUS_2 = dt.timezone(dt.timedelta(hours=2))


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    WHEN = dt.date(2026, 1, 1)


class Size(enum.StrEnum):
    """A choice that is a text."""

    BIG = "big"


@dataclass
class Line:
    """A dataclass with whatever a test puts in it."""

    sku: str
    price: Any
    more: Line | None = None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    """Every JSON value has a text that reads back equal."""
    assert json.loads(to_json_text(value)) == value


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        ({"a": [1, "x\0y"]}, "$.a[1]", "U+0000 at character 1"),
        ({"a": {"b\0": 1}}, "$.a['b\\x00']", "its key has a character"),
        (["\ud800"], "$[0]", "half of a surrogate pair (U+D800)"),
        ({"\udfff": 1}, "$['\\udfff']", "its key has a character"),
        ({"n": float("nan")}, "$.n", "nan is not JSON"),
        ([float("-inf")], "$[0]", "-inf is not JSON"),
        ({"s": {1, 2}}, "$.s", "set is not JSON: return sorted(value) or list(value)"),
        ({"b": b"x"}, "$.b", "bytes is not JSON: return its text, or base64.b64encode"),
        ([dt.timedelta(1)], "$[0]", "datetime.timedelta is not JSON: return value.total_seconds()"),
        ({"x": iter([1])}, "$.x", "list_iterator is not JSON: return list(value)"),
        (int, "$", "type is not JSON: return a value of this class, not the class"),
        ([dt.date(2026, 1, 1), {"s": {1}}], "$[1].s", "set is not JSON"),
        ({"line": Line(sku="a", price={1})}, "$.line.price", "set is not JSON"),
        ({"when": dt.date(2026, 1, 1), "x": "\0"}, "$.x", "U+0000"),
        (
            {dt.date(2026, 1, 1): 1},
            "$['2026-01-01']",
            "its key is datetime.date; JSON has text keys",
        ),
        (object(), "$", "object is not JSON"),
        ({(1, 2): 3}, "$['(1, 2)']", "its key is tuple; JSON has text keys"),
        ({"x y": [{"z": b""}]}, "$['x y'][0].z", "bytes is not JSON"),
        (["\0", {1}], "$[0]", "U+0000"),
    ],
)
def test_a_value_the_database_would_refuse_is_named_with_its_path(
    value: Any, path: str, reason: str
) -> None:
    """The first offender in reading order, as a JSON path, and why."""
    with pytest.raises(Unserialisable) as refused:
        to_json_text(value)

    assert refused.value.path == path
    assert reason in refused.value.reason
    str(refused.value).encode()  # the sentence itself can be stored


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.datetime(2026, 11, 25, 8, 30, tzinfo=dt.UTC), '"2026-11-25T08:30:00Z"'),
        (dt.datetime(2026, 11, 25, 8, 30, 0, 5), '"2026-11-25T08:30:00.000005"'),  # noqa: DTZ001
        (dt.datetime(2026, 11, 25, tzinfo=PLUS_2), '"2026-11-25T00:00:00+02:00"'),
        (dt.date(2026, 11, 25), '"2026-11-25"'),
        (dt.time(8, 30), '"08:30:00"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Path("a") / "b", '"a/b"'),
        (Decimal("1.10"), '"1.10"'),
        (Decimal("12345678901234567890.123456789"), '"12345678901234567890.123456789"'),
        (Colour.RED, '"red"'),
        (Colour.WHEN, '"2026-01-01"'),
        (Size.BIG, '"big"'),
        (Line("a", Decimal(1), Line("b", None)),
         '{"sku":"a","price":"1","more":{"sku":"b","price":null,"more":null}}'),
        ({"a": [(Decimal(1),)], "b": {"c": Size.BIG}}, '{"a":[["1"]],"b":{"c":"big"}}'),
    ],
)  # fmt: skip
def test_everyday_values_have_one_text(value: Any, text: str) -> None:
    """Alone and inside of others, as the reference says."""
    assert to_json_text(value) == text
    assert to_json_text({"x": [value]}) == f'{{"x":[{text}]}}'


def test_a_circle_of_everyday_values_is_refused() -> None:
    """It does not exhaust the stack, nor time when it branches."""
    line = Line("a", Decimal(1))
    line.more = line
    line.price = [line, line, Decimal(1)]

    with pytest.raises(Unserialisable):
        to_json_text(line)


def test_nothing_looks_for_pydantic() -> None:
    """A worker whose handlers do not use it does not import it."""
    program = (
        "import sys, decimal, pgflow_yaml.worker.calls as calls;"
        "calls.to_json_text([decimal.Decimal(1)]); print('pydantic' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"


def test_what_python_changes_is_documented() -> None:
    """Tuples become lists, number keys become text, as `json` does it."""
    assert to_json_text({1: (1, 2), None: True}) == '{"1":[1,2],"null":true}'


@pytest.mark.parametrize(
    ("value", "path", "text"),
    [
        ({1: "a", "1": "b"}, "$['1']", "1"),
        ({"1": "a", 1: "b"}, "$['1']", "1"),
        ([{"x": {None: 1, "null": 2}}], "$[0].x.null", "null"),
        ({True: 1, "true": 2}, "$.true", "true"),
        ({1.5: 1, "1.5": 2}, "$['1.5']", "1.5"),
        ({-1: 1, "-1": 2}, "$['-1']", "-1"),
    ],
)
def test_keys_that_become_the_same_text_are_refused(value: Any, path: str, text: str) -> None:
    """JSON would keep one of the two values and lose the other in silence (R-9)."""
    with pytest.raises(Unserialisable) as refused:
        to_json_text(value)

    assert refused.value.reason == f'two of its keys are "{text}" in JSON: one is lost'
    assert refused.value.path == path


def test_keys_that_look_like_numbers_are_keys_like_others() -> None:
    """Neither text keys of digits nor text that looks like such a key is refused."""
    value = {"1": "a", "01": '"1":', 2: {"1": "a"}, "null": None}

    assert json.loads(to_json_text(value)) == {
        "1": "a",
        "01": '"1":',
        "2": {"1": "a"},
        "null": None,
    }


def test_an_escaped_backslash_is_no_nul() -> None:
    r"""The six characters \u0000 in a string are text like any other."""
    assert json.loads(to_json_text("\\u0000")) == "\\u0000"


def test_integers_keep_all_their_digits() -> None:
    """4,300 digits pass; one more does not."""
    assert to_json_text(10**4299) == "1" + "0" * 4299
    with pytest.raises(Unserialisable, match=r"\$\.n: an integer of more than 4,300 digits"):
        to_json_text({"n": 10**4300})


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_nesting_has_a_limit() -> None:
    """128 levels pass, 129 do not."""
    assert to_json_text(nested(128))
    with pytest.raises(Unserialisable, match="deeper than 128"):
        to_json_text(nested(129))


def test_wide_values_are_not_deep() -> None:
    """Many brackets beside each other are fine."""
    assert to_json_text([[[]] for _ in range(1000)])


@pytest.mark.parametrize("value", [nested(100_000), {"a": nested(5_000)}])
def test_extreme_nesting_is_refused_without_a_recursion_error(value: Any) -> None:
    """No output can exhaust the stack."""
    with pytest.raises(Unserialisable, match="deeper than 128"):
        to_json_text(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    """A cycle has no text."""
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle

    with pytest.raises(Unserialisable, match="deeper than 128"):
        to_json_text(cycle)


def test_size_has_a_limit() -> None:
    """2 MB of JSON pass, in bytes, not characters; a little more does not."""
    full = 2 * 1024 * 1024
    assert to_json_text("x" * (full - 2))
    assert to_json_text("ä" * (full // 2 - 1))
    for value in ("x" * (full - 1), "ä" * (full // 2)):
        with pytest.raises(Unserialisable, match="the limit is 2 MB"):
            to_json_text(value)


class Unspeakable(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no")


class Fatal(Exception):
    """An exception that ends whoever shows it."""

    def __str__(self) -> str:
        """Leave."""
        raise SystemExit(1)


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_an_error_record_has_type_message_and_trace() -> None:
    """The trace names file, line and code of the last frames, and holds no local value."""
    secret = "hunter2"
    record = error_record(raised(ValueError(f"no {len(secret)}")))

    assert (record["type"], record["message"]) == ("ValueError", "no 7")
    trace = str(record["trace"])
    assert f'File "{__file__}", line ' in trace
    assert "raise error" in trace
    assert secret not in trace


@pytest.mark.parametrize(
    "error",
    [
        Unspeakable(),
        Fatal(),
        ValueError("a\0b"),
        ValueError("\ud800"),
        ValueError("x" * 1_000_000),
        ValueError(b"\xff", {1}),
        type("Näme\0"[:4], (Exception,), {})(),
        SystemExit(3),
        KeyboardInterrupt(),
        ExceptionGroup("several", [ValueError("a\0")]),
    ],
)
def test_reporting_a_failure_does_not_fail(error: BaseException) -> None:
    """Every exception has a record that can be stored, of bounded size (F20)."""
    record = error_record(raised(error))

    text = json.dumps(record)
    assert "\\u0000" not in text
    assert "\\ud800" not in text
    assert len(text) < 40_000


def test_a_trace_of_endless_recursion_is_short() -> None:
    """Only the last ten frames are kept."""

    def again() -> None:
        again()

    with pytest.raises(RecursionError) as caught:
        again()

    assert str(error_record(caught.value)["trace"]).count("File ") <= 10


def test_own_frames_are_left_out_of_a_trace() -> None:
    """The trace begins at the handler's code."""
    assert error_record(raised(ValueError("x")), own={__file__})["trace"] == ""


def test_cleaning_keeps_ordinary_text() -> None:
    """Only what cannot be stored is replaced; a cut is visible."""
    assert clean("Ünïcödé 😀 \n") == "Ünïcödé 😀 \n"
    assert clean("a\0b") == "a�b"
    assert clean("abcdef", limit=3) == "ab…"
    assert Path(clean("a/b")).name == "b"
