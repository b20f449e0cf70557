"""Durations and what was probably meant by a text that is none."""

from __future__ import annotations

import pytest

from pgflow_yaml.language.durations import milliseconds, suggestion


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("250ms", 250),
        ("1.5s", 1500),
        ("10m", 600_000),
        ("2h", 7_200_000),
        ("30d", 2_592_000_000),
        ("0.1s", 100),
        (45, 45_000),
        (0.25, 250),
        (0, 0),
        ("30", None),
        ("30 s", None),
        ("1h30m", None),
        ("-1s", None),
        ("", None),
        ("s", None),
        ("1s\n", None),
        (-1, None),
        (True, None),
    ],
)
def test_a_duration_is_read_as_milliseconds(written: str | float, expected: int | None) -> None:
    """A number counts seconds; a text has one number and one unit."""
    assert milliseconds(written) == expected


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("30 seconds", "30s"),
        ("5 min", "5m"),
        ("1 Hour", "1h"),
        ("2 weeks", "14d"),
        ("30", "30s"),
        ("1h30m", "5400s"),
        ("00:01:30", "90s"),
        ("PT5M", "300s"),
        ("P1DT1S", "86401s"),
        ("1 fortnight", None),
        ("soon", None),
        ("P", None),
    ],
)
def test_a_text_that_is_no_duration_is_understood_all_the_same(
    written: str, meant: str | None
) -> None:
    """The fix can be copied, and it is a duration."""
    assert suggestion(written) == meant
    assert meant is None or milliseconds(meant) is not None
