"""Parts of all pictures: text that XML can hold, a symbol and a word for each condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.text import safe

if TYPE_CHECKING:
    from collections.abc import Mapping

# None of them is drawn as a picture in colour, as pause and play signs are on telephones.
SYMBOLS: Mapping[str, str] = {
    "completed": "✓",
    "started": "▸",
    "waiting": "‖",
    "repeating": "↻",
    "retrying": "↻",
    "created": "○",
    "failed": "✗",
    "caught": "✗",
    "skipped": "⊘",
    "cancelled": "■",
}
_WORDS = {
    "started": "running",
    "created": "not started",
    "caught": "failed, handled",
}


def word(condition: str) -> str:
    """Return the word for a condition, where it is not that itself."""
    return _WORDS.get(condition, condition)


def escaped(text: str) -> str:
    """Return a text escaped for XML, without characters that XML cannot have."""
    text = safe(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    return text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd").replace('"', "&quot;")
