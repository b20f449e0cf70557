"""Write the tokens as text for Python's parser, and report operators of other languages.

Such an operator is replaced by the nearest one of Python, so that one pass gives all findings.
"""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_right
from dataclasses import dataclass

from pgflow_yaml.language.expressions.findings import Edit, Finding
from pgflow_yaml.language.expressions.functions import FUNCTIONS
from pgflow_yaml.language.expressions.lexer import CONSTANTS, Lexer, Token

_NOT_PART = "`{0}` is not part of the expression language"
_ASSIGN = "`=` does not compare"
_ARITHMETIC = "the operators for numbers are + - * / %"

_EACH = "write [x.key for x in list]; `run.failed` lists the failed steps, in `finally`"
_PATTERN = "there are no patterns: write `part in text`, startswith() or endswith()"

# operator: (code, replacement for Python's parser, message, help)
FOREIGN: dict[str, tuple[str, str, str, str]] = {
    "&&": ("PF210", "and", _NOT_PART, "write `and`"),
    "||": ("PF210", "or", _NOT_PART, "write `or`"),
    "!": ("PF210", "not", _NOT_PART, "write `not`"),
    "===": ("PF210", "==", _NOT_PART, "write `==`"),
    "!==": ("PF210", "!=", _NOT_PART, "write `!=`"),
    "<>": ("PF210", "!=", _NOT_PART, "write `!=`"),
    "??": ("PF210", "or", _NOT_PART, "write default(value, fallback)"),
    "?.": ("PF210", ".", _NOT_PART, "write `.`; a key that is missing is null already"),
    "|>": ("PF210", "or", "there are no filters", "a function is called: upper(text)"),
    "=~": ("PF216", "==", _NOT_PART, _PATTERN),
    "!~": ("PF216", "!=", _NOT_PART, _PATTERN),
    "=": ("PF211", "==", _ASSIGN, "write `==`"),
    ":=": (
        "PF216",
        "==",
        "`:=` assigns, and an expression cannot",
        "write the value where it is used",
    ),
    "**": ("PF216", "*", _NOT_PART, "multiply with `*`"),
    "//": ("PF216", "/", _NOT_PART, "write int(a / b)"),
    "&": ("PF210", "and", _NOT_PART, "write `and`"),
    "|": ("PF210", "or", _NOT_PART, "write `or`"),
    "^": ("PF216", "and", _NOT_PART, _ARITHMETIC),
    "~": ("PF216", "not", _NOT_PART, "write `not`"),
    "@": ("PF216", "*", _NOT_PART, _ARITHMETIC),
    "<<": ("PF216", "+", _NOT_PART, _ARITHMETIC),
    ">>": ("PF216", "+", _NOT_PART, _ARITHMETIC),
    "->": ("PF216", "-", _NOT_PART, "write `.` for a key"),
    "=>": ("PF216", ">=", _NOT_PART, "a function cannot be written here; `>=` compares"),
    ";": ("PF216", "and", _NOT_PART, "write one expression"),
    "...": ("PF216", "", _NOT_PART, "join lists with `+`"),
}
_WRITTEN = re.compile(r"write `([a-z]+|[=!]=)`")
_CASED = frozenset({"and", "or", "not", "in"})
_PAIRS = {")": "(", "]": "[", "}": "{"}
_CLOSERS = {opener: closer for closer, opener in _PAIRS.items()}
_LEFT_OUT = {
    "lambda": "write a list comprehension: [f(x) for x in list]",
    "await": "leave it out: values are there already",
    "yield": "leave it out",
    "async": "leave it out",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Text for Python's parser, with the token behind each of its columns."""

    text: str
    tokens: list[Token]
    columns: list[int]

    def token_at(self, column: int) -> Token:
        """Return the last token that begins at or before a column."""
        return self.tokens[max(0, bisect_right(self.columns, column) - 1)]

    def start(self, node: ast.expr) -> int:
        """Return the offset in the original text where a node begins."""
        return self.token_at(node.col_offset).start

    def end(self, node: ast.expr) -> int:
        """Return the offset in the original text where a node ends."""
        return self.token_at((node.end_col_offset or 1) - 1).end

    def parse(self) -> ast.expr | Exception:
        """Return Python's syntax tree, or its exception when the text is not an expression."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return error


class Repair:
    """Repaired text of an expression, with the findings."""

    def __init__(self, lexer: Lexer) -> None:
        """Repair the tokens in one pass."""
        self.original = lexer.text
        self.read = lexer.tokens
        self.findings: list[Finding] = []
        self.pieces: list[str] = []
        self.behind: list[Token] = []
        self.open: list[Token] = []
        self.questions: list[int] = []
        self.after_value = False
        for position in range(len(self.read)):
            self._token(position)
        self._close()

    @property
    def source(self) -> Source:
        """The repaired text with its tokens."""
        columns: list[int] = []
        column = 0
        for piece in self.pieces:
            columns.append(column)
            column += len(piece) + 1
        return Source(" ".join(self.pieces), self.behind, columns)

    def _emit(self, piece: str, token: Token, *, value: bool = False) -> None:
        """Add a piece; after a value an operator must follow."""
        if piece:
            self.pieces.append(piece)
            self.behind.append(token)
            self.after_value = value

    def _report(
        self, token: Token, code: str, message: str, fix: str, *, edit: Edit | None = None
    ) -> None:
        if edit is None and (written := _WRITTEN.fullmatch(fix)):
            edit = self._instead(token, written[1])
        self.findings.append(Finding(token.start, token.end, code, message, fix, edit))

    def _instead(self, token: Token, text: str) -> Edit:
        """Return the edit that writes an operator over a token, apart from its neighbours."""
        before, after = self.original[: token.start][-1:], self.original[token.end :][:1]
        if text[0].isalpha() and before not in ("", " ", "("):
            text = f" {text}"
        if text[-1].isalpha() and after not in ("", " "):
            text = f"{text} "
        return Edit(token.start, token.end, text)

    def _token(self, position: int) -> None:
        token = self.read[position]
        if token.kind == "operator":
            self._operator(token, position)
        elif token.kind == "word":
            self._emit(str(token.value), token)
        elif token.kind == "name" and self._word_of_python(token, position):
            return
        elif token.kind == "key":
            self._emit(f"t{position}", token, value=True)
        else:
            self._operand(token, position)

    def _operand(self, token: Token, position: int) -> None:
        literal = token.kind in ("text", "number") or token.value in CONSTANTS
        if self.pieces and self.pieces[-1] in (".", "?."):
            shown = self.original[token.start : token.end]
            self._report(token, "PF216", "an index stands in brackets", f"write [{shown}]")
            literal = False
        elif self.after_value:
            message = "an operator is missing before this"
            fix = "join texts with `+`" if token.kind == "text" else "write the operator between"
            self._report(token, "PF219", message, fix)
            self._emit("and", token)
        self._emit(f'"{position}"' if literal else f"t{position}", token, value=True)

    def _word_of_python(self, token: Token, position: int) -> bool:
        """Report a word that is not a name here, replace it, and return True."""
        word = str(token.value)
        following = self.read[position + 1] if position + 1 < len(self.read) else None
        if word == "is":
            self._report(token, "PF216", _NOT_PART.format(word), "write `==`, or `!=` for `is not`")
            negated = following is not None and following.value == "not"
            self._emit("!=" if negated else "==", token)
            if negated:
                self.read[position + 1] = Token("operator", token.start, token.end, "")
            return True
        if word in _LEFT_OUT:
            self._report(token, "PF216", _NOT_PART.format(word), _LEFT_OUT[word])
            return True
        if word.lower() in _CASED and word not in CONSTANTS:
            self._report(token, "PF210", _NOT_PART.format(word), f"write `{word.lower()}`")
            self._emit(word.lower(), token)
            return True
        return False

    def _operator(self, token: Token, position: int) -> None:
        symbol = str(token.value)
        if symbol == "?":
            self._question(token, position)
        elif symbol == ":" and self.questions and self.questions[-1] == len(self.open):
            self.questions.pop()
            self._emit("or", token)
        elif symbol == "|" and (fix := self._filter(position)):
            self._report(token, "PF210", "there are no filters", fix)
            self._emit("or", token)
        elif symbol == "=" and self._names_argument(position):
            self._emit("=", token)
        elif symbol == "~" and self.after_value:
            self._report(token, "PF216", _NOT_PART.format(symbol), "join texts with `+`")
            self._emit("+", token)
        elif symbol == "*" and self.pieces and self.pieces[-1] == ".":
            self._report(token, "PF216", "`*` names no key", _EACH)
            self._emit(f"t{position}", token, value=True)
        elif symbol in FOREIGN and not (symbol == "**" and not self.after_value):
            code, piece, message, fix = FOREIGN[symbol]
            self._report(token, code, message.format(symbol), fix)
            self._emit(piece, token)
        elif symbol in _CLOSERS:
            self.open.append(token)
            self._emit(symbol, token)
        elif symbol in _PAIRS:
            self._closer(token, symbol)
        else:
            self._emit(symbol, token)

    def _names_argument(self, position: int) -> bool:
        """Return True for the `=` of `f(name=value)`, which the parser reports."""
        name, before = (self.read[max(0, position - back)] for back in (1, 2))
        inside_call = bool(self.open) and self._opens_call(self.open[-1])
        return name.kind == "name" and before.value in ("(", ",") and inside_call

    def _opens_call(self, opener: Token) -> bool:
        at = self.read.index(opener)
        return opener.value == "(" and at > 0 and self.read[at - 1].kind in ("name", "key")

    def _filter(self, position: int) -> str | None:
        following = self.read[position + 1] if position + 1 < len(self.read) else None
        if following and following.kind == "name" and following.value in FUNCTIONS:
            return f"write {FUNCTIONS[str(following.value)].usage}"
        return None

    def _question(self, token: Token, position: int) -> None:
        self.questions.append(len(self.open))
        edit = self._conditional(position)
        fix = f"write `{edit.text}`" if edit else "write `a if condition else b`"
        self._report(token, "PF210", "`? :` is not part of the expression language", fix, edit=edit)
        self._emit("and", token)

    def _conditional(self, position: int) -> Edit | None:
        """Return the edit for `c ? a : b`; None where its parts cannot be told apart."""
        start = self.open[-1].end if self.open else 0
        colon, end = self._parts(position)
        if colon is None:
            return None
        condition = self.original[start : self.read[position].start].strip()
        chosen = self.original[self.read[position].end : self.read[colon].start].strip()
        other = self.original[self.read[colon].end : end].strip()
        return Edit(start, end, f"{chosen} if {condition} else {other}")

    def _parts(self, position: int) -> tuple[int | None, int]:
        depth = 0
        colon: int | None = None
        for at in range(position + 1, len(self.read)):
            value = self.read[at].value if self.read[at].kind == "operator" else ""
            depth += (value in _CLOSERS) - (value in _PAIRS)
            if depth < 0:
                return colon, self.read[at].start
            if depth == 0 and value in (":", "?"):
                if colon is not None or value == "?":
                    return None, 0
                colon = at
        return colon, len(self.original)

    def _closer(self, token: Token, symbol: str) -> None:
        if self.open and self.open[-1].value == _PAIRS[symbol]:
            self.open.pop()
            self._emit(symbol, token, value=True)
            return
        if any(opener.value == _PAIRS[symbol] for opener in self.open):
            while self.open[-1].value != _PAIRS[symbol]:
                self._unclosed(self.open.pop(), token)
            self.open.pop()
            self._emit(symbol, token)
            return
        self._report(
            token,
            "PF217",
            f"`{symbol}` closes a bracket that was never opened",
            f"remove it, or open it with `{_PAIRS[symbol]}`",
        )

    def _unclosed(self, opener: Token, behind: Token) -> None:
        closer = _CLOSERS[str(opener.value)]
        self._report(
            opener, "PF217", f"`{opener.value}` is never closed", f"close it with `{closer}`"
        )
        self._emit(closer, behind)

    def _close(self) -> None:
        while self.open:
            self._unclosed(self.open.pop(), self.read[-1])
