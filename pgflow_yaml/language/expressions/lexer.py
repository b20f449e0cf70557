"""Split an expression into tokens, and report characters that no expression may contain.

Texts, numbers and names are read here, so that Python's own parser only sees placeholders.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Literal, NamedTuple

from pgflow_yaml.language.expressions.findings import Finding
from pgflow_yaml.language.expressions.functions import FUNCTIONS
from pgflow_yaml.language.expressions.values import canonical

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

Kind = Literal["name", "key", "number", "text", "word", "operator"]

WORDS = frozenset({"and", "or", "not", "in", "if", "else", "for"})
CONSTANTS: dict[str, Json] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "null": None,
    "None": None,
}
_SPACE = re.compile(r"[ \t\r\n]+")
_NAME = re.compile(r"[^\W\d]\w*")
_WORD = re.compile(r"\w+(?:-\w+)*")
_NUMBER = re.compile(r"(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?")
_OPERATOR = re.compile(
    r"===|!==|=~|!~|\.\.\.|\|>|&&|\|\||\?\?|\?\.|==|!=|<=|>=|<>|<<|>>|\*\*|//|:=|->|=>|[-+*/%<>=!&|^~@?:.,()\[\]{};]"
)
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "/": "/",
}
_HEX = {"x": 2, "u": 4, "U": 8}
_CODE_POINTS = 0x110000
_FORBIDDEN = "a text cannot hold this character, nor can a database"
_SURROGATES = range(0xD800, 0xE000)


class Token(NamedTuple):
    """Token with its offsets in the text; `value` is the literal, the name or the operator."""

    kind: Kind
    start: int
    end: int
    value: Json


class Lexer:
    """Tokens and findings of one text."""

    def __init__(self, text: str, *, roots: frozenset[str] = frozenset()) -> None:
        """Read the text from left to right; paths begin with one of the `roots`."""
        self.text = text
        self.roots = roots
        self.tokens: list[Token] = []
        self.findings: list[Finding] = []
        position = 0
        while position < len(text):
            position = self._step(position)

    def _step(self, start: int) -> int:
        if match := _SPACE.match(self.text, start):
            return match.end()
        character = self.text[start]
        if character in "\"'":
            return self._text(start, start)
        if end := self._misspelt(start):
            self._add("key", start, end, self.text[start:end])
            return end
        if match := _NAME.match(self.text, start):
            return self._name(start, match.end())
        after_dot = self._follows_value_dot(start)
        if not after_dot and (match := _NUMBER.match(self.text, start)):
            return self._number(start, match.end())
        if match := _OPERATOR.match(self.text, start):
            self._add("operator", start, match.end(), match.group())
            return match.end()
        message, fix = _strange(character)
        end = len(self.text) if character == "#" else start + 1
        self._report((start, end), "PF219", message, fix)
        return end

    def _follows_dot(self) -> bool:
        return bool(self.tokens) and self.tokens[-1].value in (".", "?.")

    def _misspelt(self, start: int) -> int | None:
        """Return the end of a key that is no name, `order-id` or `1_each`; None for others.

        `input.a-index` subtracts, because `index` has a value of its own.
        """
        word = _WORD.match(self.text, start) if self._follows_dot() else None
        if word is None or word.group().isidentifier():
            return None
        if len(self.tokens) < 2:
            return None
        named = len(self.tokens) == 2 or self.tokens[-3].end != self.tokens[-2].start
        if named and self.tokens[-2].value in ("steps", "secrets"):
            return word.end()  # alone, these words have no value to subtract from
        first, *others = word.group().split("-")
        if first[0].isdigit():
            return None if first.isdigit() else word.end()
        if not others:  # `a¹`
            return word.end()
        following = others[0]
        known = (
            following in self.roots
            or following in CONSTANTS
            or (following in FUNCTIONS and self.text[word.end() : word.end() + 1] == "(")
            or following.isdigit()
            or re.search(rf"\bfor\b[^\[\]]*\b{following}\b", self.text) is not None
        )
        return None if known else word.end()

    def _follows_value_dot(self, start: int) -> bool:
        # In `rows.0` the dot belongs to the path, not to the number.
        return bool(
            self.text[start] == "."
            and self.tokens
            and self.tokens[-1].end == start
            and (self.tokens[-1].kind in ("name", "key") or self.tokens[-1].value in ("]", ")"))
        )

    def _add(self, kind: Kind, start: int, end: int, value: Json) -> None:
        self.tokens.append(Token(kind, start, end, value))

    def _report(self, span: tuple[int, int], code: str, message: str, fix: str) -> None:
        self.findings.append(Finding(*span, code, message, fix))

    def _name(self, start: int, end: int) -> int:
        name = self.text[start:end]
        if end < len(self.text) and self.text[end] in "\"'" and len(name) <= 2:
            return self._prefixed(start, end, name)
        if self._follows_dot():
            self._add("key", start, end, name)
        elif name in WORDS:
            self._add("word", start, end, name)
        else:
            self._add("name", start, end, name)
        return end

    def _prefixed(self, start: int, end: int, prefix: str) -> int:
        if "f" in prefix.lower():
            message, fix = (
                "f-strings are not part of the expression language",
                "join texts with `+`, or write a template: text ${{ value }} text",
            )
        else:
            message, fix = f'a text takes no prefix "{prefix}"', f"leave out `{prefix}`"
        self._report((start, end), "PF216", message, fix)
        return self._text(start, end)

    def _number(self, start: int, end: int) -> int:
        text = self.text[start:end]
        if match := _NAME.match(self.text, end):
            end = match.end()
            fix = "write a decimal number, such as 12 or 0.5; put other texts in quotes"
            message = f"`{self.text[start:end]}` is not a number"
            self._report((start, end), "PF223", message, fix)
            self._add("number", start, end, 0)
            return end
        self._add("number", start, end, self._number_value(text, start, end))
        return end

    def _number_value(self, text: str, start: int, end: int) -> Json:
        if re.search(r"_(?![0-9])|(?<![0-9])_", text) or re.match(r"0[0-9_]", text):
            fix = "write it without leading zeros or stray underscores"
            self._report((start, end), "PF223", f"`{text}` is not a number", fix)
            return 0
        plain = text.replace("_", "")
        if plain.isdigit():
            return int(plain)
        number = float(plain)
        if number == float("inf"):
            self._report(
                (start, end),
                "PF223",
                f"`{text}` is too large for a double",
                "no number is that large",
            )
            return 0
        return canonical(number)

    def _text(self, start: int, quote_at: int) -> int:
        quote = self.text[quote_at]
        if self.text.startswith(quote * 3, quote_at):
            return self._triple(start, quote_at)
        parts: list[str] = []
        position = quote_at + 1
        while position < len(self.text) and self.text[position] != quote:
            piece, position = self._character(position)
            parts.append(piece)
        if position >= len(self.text):
            fix = f"put {quote} at its end"
            self._report((start, len(self.text)), "PF218", "this text is not closed", fix)
        end = min(position + 1, len(self.text))
        self._add("text", start, end, "".join(parts))
        return end

    def _triple(self, start: int, quote_at: int) -> int:
        quotes = self.text[quote_at] * 3
        closing = self.text.find(quotes, quote_at + 3)
        end = len(self.text) if closing < 0 else closing + 3
        message = "a text begins with one quote, not with three"
        self._report((start, end), "PF218", message, "write one quote on each side")
        self._add("text", start, end, "")
        return end

    def _character(self, position: int) -> tuple[str, int]:
        character = self.text[position]
        if character != "\\":
            if character == "\0" or ord(character) in _SURROGATES:
                self._report((position, position + 1), "PF218", _FORBIDDEN, "leave it out")
                return "", position + 1
            return character, position + 1
        letter = self.text[position + 1 : position + 2]
        if letter in _ESCAPES:
            return _ESCAPES.get(letter, ""), position + 2
        return self._hexadecimal(position, letter)

    def _hexadecimal(self, position: int, letter: str) -> tuple[str, int]:
        width = _HEX.get(letter, 0)
        digits = self.text[position + 2 : position + 2 + width]
        if width and re.fullmatch("[0-9a-fA-F]+", digits) and len(digits) == width:
            code = int(digits, 16)
            if 0 < code < _CODE_POINTS and code not in _SURROGATES:
                return chr(code), position + 2 + width
            span = (position, position + 2 + width)
            self._report(span, "PF218", _FORBIDDEN, "leave it out")
            return "", position + 2 + width
        end = min(position + 2, len(self.text))
        message = f"`{self.text[position:end]}` is not an escape in a text"
        self._report((position, end), "PF218", message, "write two backslashes for a backslash")
        return "", end


def _strange(character: str) -> tuple[str, str]:
    """Return message and fix for a character outside the language."""
    if character == "#":
        return "an expression holds no comment", "put the comment on a line of its own in the file"
    if character == "$":
        return "`$` has no meaning inside an expression", "write names as they are: input.name"
    if character == "`":
        return "texts stand in quotes, not in backticks", 'write "text"'
    if character in "“”„«»‘’":
        return f"`{character}` is a typographic quote", "write \" or '"
    if character.isspace():
        return (
            f"this is {unicodedata.name(character, 'a strange space')}, not an ordinary space",
            "write an ordinary space",
        )
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return f"`{shown}` has no meaning in an expression", "put texts in quotes"
