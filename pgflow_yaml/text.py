"""Text for any screen: without control characters, of a known width; durations and times."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgflow_yaml.errors import PgflowError

TAB = "    "
BOX = "\N{REPLACEMENT CHARACTER}"
# S-18: characters that could move the cursor, ring, colour or reverse the reading direction. Tabs
# and line ends are left to the functions below.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
# Whole escape sequences go first, or their visible remains would be left behind.
_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]"
)
# CI services read these commands anywhere in a line.
_COMMANDS = re.compile(r"##(?:vso|teamcity)?(?=\[)")
# Up to the last "@": a password with an unescaped one is masked whole.
_PASSWORDS = re.compile(
    r"(?<=://)([^:/?#\s@]*):\S+(?=@)|(?<=:)[^:/\s]+(?=@)|(?<=password=)(?:'[^']*'|[^\s&]+)",
    re.IGNORECASE,
)

LINE = 80
LONGEST_SENTENCE = 2000


def clean(text: str) -> str:
    """Remove terminal escapes, control characters and text direction marks; keep line ends.

    A space ends what CI services would take for the beginning of a command.
    """
    visible = _UNSAFE.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n"))).replace("\t", TAB)
    return _COMMANDS.sub(lambda found: f"{found[0]} ", visible) if "##" in visible else visible


def safe(text: str) -> str:
    """Replace each character that `clean` would remove, and each line end, by a box."""
    return _UNSAFE.sub(BOX, text.replace("\n", BOX))


def mask_passwords(text: str) -> str:
    """Mask the passwords of connection strings (S-12)."""
    return _PASSWORDS.sub(lambda found: f"{found[1]}:***" if found[1] is not None else "***", text)


def one_line(text: str) -> str:
    """Return a text cleaned and on one line."""
    return " ".join(clean(text).split())


def cells(text: str) -> int:
    """Return the number of columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)  # most text: rich is not even imported
    from rich.cells import cell_len

    return cell_len(text)


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """Cut a text to a number of columns; a cut text ends with the ellipsis."""
    if cells(text) <= width:
        return text
    keep = width - len(ellipsis)
    return _cut(text, keep) + ellipsis if keep > 0 else _cut(text, max(width, 0))


def _cut(text: str, width: int) -> str:
    if text.isascii():
        return text[:width]
    from rich.cells import set_cell_size

    return set_cell_size(text, width)


def fit_line(
    line: Iterable[tuple[str, str]], width: int, ellipsis: str = "…"
) -> list[tuple[str, str]]:
    """Cut a line of styled words to a number of columns."""
    kept: list[tuple[str, str]] = []
    for words, style in line:
        cut = fit(words, width, ellipsis)
        kept.append((cut, style))
        width -= cells(cut)
        if width <= 0:
            break
    return kept


def duration(seconds: float) -> str:
    """Format a duration in at most nine characters: `12 ms`, `0.8 s`, `2 m 05 s`, `1 h 02 m`."""
    seconds = max(seconds, 0.0)
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def roughly(seconds: float) -> str:
    """Format a duration in its largest unit: `30 ms`, `0.3 s`, `3 s`, `5 min`, `2 h`, `4 d`."""
    seconds = max(seconds, 0.0)
    if 0 < seconds < 0.095:
        return f"{seconds * 1000:.0f} ms"
    if 0 < seconds < 0.95:
        return f"{seconds:.1f} s"
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds / 86_400)} d"


def moment(stamp: str) -> datetime:
    """Read a time as SQL writes it in JSON."""
    return datetime.fromisoformat(stamp)


def elapsed(since: str, until: datetime) -> float:
    """Return the seconds from a time as SQL writes it to `until`; negative if that is earlier."""
    return (until - moment(since)).total_seconds()


def utc(stamp: str) -> str:
    """Format a time as `2026-11-24T12:00:03.120Z`."""
    text = moment(stamp).astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def error_text(error: Mapping[str, Any] | None) -> str:
    """Format an error of a run, a step or an attempt on one line: `CardTimeout: no answer`."""
    if not error:
        return ""
    parts = (error.get("type") or "Error", error.get("message"))
    return one_line(": ".join(str(part) for part in parts if part))


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Format the labels of a run on one line: `team=ml, tier=gold`."""
    return one_line(", ".join(f"{name}={value}" for name, value in (labels or {}).items()))


def compact(value: object) -> str:
    """Format a JSON value on one line, cleaned for a terminal."""
    return one_line(json.dumps(value, ensure_ascii=False))


def layout(value: object, indent: int = 0) -> str:
    """Format a JSON value over several lines, with each part on one line if it fits there."""
    short = json.dumps(value, ensure_ascii=False)
    if len(short) + indent <= LINE or not isinstance(value, dict | list) or not value:
        return short
    inner = indent + 2
    if isinstance(value, dict):
        pairs = ((json.dumps(key, ensure_ascii=False), inside) for key, inside in value.items())
        parts = [f"{key}: {layout(inside, inner)}" for key, inside in pairs]
    else:
        parts = [layout(inside, inner) for inside in value]
    space = " " * inner
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    body = f",\n{space}".join(parts)
    return f"{opening}\n{space}{body}\n{' ' * indent}{closing}"


def wrapped(text: str, width: int) -> list[str]:
    """Wrap a sentence to lines of a width; a width of 0 leaves it on one line."""
    import textwrap

    if not width or cells(text) <= width:
        return [text]
    return textwrap.wrap(text, max(width, 16), break_on_hyphens=False) or [""]


def error_sentence(error: PgflowError) -> str:
    """Return an error of this package on one line, with what was meant where that is known."""
    near = next(iter(getattr(error, "suggestions", ())), None)
    hinted = near is None or "did you mean" in error.message
    return one_line(error.message + ("" if hinted else f'; did you mean "{near}"?'))


def for_people(sentence: str) -> str:
    """Return a sentence that may repeat what somebody typed: no password, no more than a page."""
    return fit(mask_passwords(sentence), LONGEST_SENTENCE)


def plural(count: int, noun: str) -> str:
    """Format a number of things: `1 step`, `1,204 steps`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
