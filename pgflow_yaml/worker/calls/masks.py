"""Masks for the values of secrets, replaced in texts before they are stored (S-11).

One set for the process, since a handler may keep a secret and show it in another task. A value
is searched for in any case: as it is, in JSON, in Python's quotes, also as bytes, in HTML, in
URLs, and in base64 at any offset.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from base64 import b64encode
from bisect import bisect_left
from collections import OrderedDict
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgflow_yaml.language.model import Json

MASK = "***"
LEAST_CHARACTERS = 8
"""A shorter value occurs in too many texts by chance."""
MOST_VALUES = 256
"""A provider may give a new value each time: the least recently used ones are forgotten.

Links are counted by themselves: a listener makes a new one for each run, and secrets stay.
"""


class Masks:
    """The secrets that this process has resolved; all of its threads use it."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._in_json: tuple[str, ...] = ()
        self._sorted: tuple[str, ...] = ()
        self._firsts: frozenset[str] = frozenset()
        self._values: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._links: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        """Mask this value from now on."""
        self._keep(self._values, value, _forms)

    def add_link(self, token: str) -> None:
        """Mask the token of a link as it is: none of its letters is quoted in a text."""
        self._keep(self._links, token, lambda text: {text})

    def _keep(
        self,
        kept: OrderedDict[str, tuple[str, ...]],
        value: str,
        forms_of: Callable[[str], set[str]],
    ) -> None:
        with self._lock:
            if value in kept:
                kept.move_to_end(value)
                return
            kept[value] = tuple(forms_of(value))
            while len(kept) > MOST_VALUES:
                kept.popitem(last=False)
            of_each = (*self._values.values(), *self._links.values())
            every = {form for forms in of_each for form in forms}
            # A form may be a part of another one: the longest goes first.
            self._forms = tuple(sorted(every, key=lambda form: (-len(form), form)))
            self._in_json = tuple({_escaped(form).lower() for form in every})
            # Most lines end as a form with a line break in front begins; its rest is a form too.
            self._sorted = tuple(sorted({form.lower() for form in every if not form[0].isspace()}))
            self._firsts = frozenset(form[0] for form in self._sorted)

    def text(self, text: str) -> str:
        """Return the text with all secrets masked."""
        lowered = text.lower() if self._forms else text
        for form in self._forms:
            # A handler may have changed the case; a pattern is slow, so only where there is one.
            if form.lower() in lowered:
                text = re.sub(re.escape(form), MASK, text, flags=re.IGNORECASE)
        return text

    def split(self, text: str) -> tuple[str, str]:
        """Return the text to show now, masked, and the end, which may begin a secret."""
        start = self._start_of_end(text)
        shown, end = text[:start], text[start:]
        masked = self.text(shown)
        if end and masked + self.text(end) != (whole := self.text(text)):
            return whole, ""  # a secret lies over the cut: it is complete
        return masked, end

    def _start_of_end(self, text: str) -> int:
        """Return where the longest end of a text begins that a form begins with, too."""
        forms, firsts = self._sorted, self._firsts
        longest = len(self._forms[0]) if forms else 0
        for start in range(max(0, len(text) - longest), len(text)):
            if text[start].lower()[0] in firsts:
                end = text[start:].lower()
                place = bisect_left(forms, end)
                if forms[place : place + 1] == (end,):
                    place += 1  # the form itself is complete; a longer one may be meant
                if place < len(forms) and forms[place].startswith(end):
                    return start
        return len(text)

    def json_text(self, text: str) -> str:
        """Return the JSON text with secrets masked; a number that shows one becomes a string."""
        lowered = text.lower() if self._in_json else text
        if not any(form in lowered for form in self._in_json):
            return text
        return json.dumps(self._masked(json.loads(text)), ensure_ascii=False, separators=(",", ":"))

    def _masked(self, value: Json) -> Json:
        if isinstance(value, dict):
            return {self.text(key): self._masked(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._masked(inner) for inner in value]
        if isinstance(value, str):
            return self.text(value)
        shown = json.dumps(value)
        masked = self.text(shown)
        return value if masked == shown else masked


masks = Masks()
"""The masks of this process."""


class MaskingFilter(logging.Filter):
    """A filter that masks log records and their tracebacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record, and let it pass."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 (arguments that do not fit: logging reports them itself)
            return True
        masked = masks.text(message)
        if masked != message:
            record.msg, record.args = masked, None
        if record.exc_info:
            if not record.exc_text:
                record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = masks.text(record.exc_text)
        return True


def _forms(value: str) -> set[str]:
    """Return the forms that a value may take in a text; none for one that is too short."""
    lines = [line.strip() for line in value.splitlines()]
    # A line of a key may be shown alone; its first and last lines are no secret.
    parts = {line for line in lines if not line.startswith("-----")} if len(lines) > 1 else set()
    if not value.isascii():  # escapes do not show that two letters differ in case alone
        parts |= {value.lower(), value.upper()}
    forms: set[str] = set()
    for part in {value, value.strip(), *parts}:
        if len(part) < LEAST_CHARACTERS:
            continue
        ascii_ = json.dumps(part)[1:-1]
        # Twice: a text that is JSON is often put into JSON again.
        forms |= {part, ascii_, _escaped(ascii_), _escaped(part), _escaped(_escaped(part))}
        data = part.encode(errors="replace")
        forms |= {repr(part)[1:-1], ascii(part)[1:-1], repr(data)[2:-1]}
        forms |= {escape(part), escape(part, quote=False), quote_plus(part, errors="replace")}
        for safe in ("", "/"):
            quoted = quote(part, safe=safe, errors="replace")
            forms |= {quoted, _low(quoted)}
        forms |= _in_base64(data)
    return forms


def _escaped(text: str) -> str:
    """Return the text as it stands between the quotes of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _low(quoted: str) -> str:
    """Return the quoted text with lower-case percent escapes."""
    head, *rest = quoted.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])


def _in_base64(data: bytes) -> set[str]:
    """Return the encodings of a value at each offset, without characters that depend on others."""
    forms = set()
    for offset in range(3):
        first, last = -(-offset * 8 // 6), (offset + len(data)) * 8 // 6
        for altchars in (b"+/", b"-_"):
            text = b64encode(b"\0" * offset + data + b"\0\0", altchars).decode()
            forms.add(text[first:last])
    return forms
