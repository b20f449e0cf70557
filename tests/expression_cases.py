"""Values of expressions: one table of cases for the evaluators in Python and in SQL.

Every text is evaluated over `ENV`. A value must be equal as JSON text (1 is not true, and 1.0 is
written 1); an error must have this message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pgflow_yaml.language.expressions.values import json_text
from tests.expression_error_cases import ERROR_CASES
from tests.expression_function_cases import FUNCTION_CASES

ROOTS = frozenset({"input", "steps", "run", "item", "index"})

ENV: dict[str, Any] = {
    "input": {"plan": "premium", "class": "A", "content-type": "csv"},
    "input.plan": "premium",
    "input.class": "A",
    "input.n": 7,
    "input.one": 1.0,
    "input.half": 0.5,
    "input.padded": 1.50,
    "input.tenth": 0.1,
    "input.big": 9007199254740993,
    "input.huge": 10**30,
    "input.tiny": 1e-7,
    "input.zero": 0,
    "input.yes": True,
    "input.no": False,
    "input.nothing": None,
    "input.empty": "",
    "input.name": "Héllo 😀",
    "input.words": ["b", "a", "é", "B"],
    "input.numbers": [3, 1, 2.5, 1.0],
    "input.none": [],
    "input.object": {"bb": 1, "a": [1.50, {"x": None}], "é": "z"},
    "input.users": [
        {"id": 1, "active": True, "tags": ["x", "y"]},
        {"id": 2, "active": False, "tags": []},
        {"id": 3, "active": True, "tags": ["z"]},
    ],
    "input.matrix": [[1, 2], [3], []],
    "input.quoted": 'say "hi"\\\n',
    "steps.fetch.output.rows": [{"content-type": "csv"}, {"content-type": "json"}],
    "steps.fetch.status": "completed",
    "run.id": "0190-ab",
    "item": {"url": "https://x"},
    "index": 3,
}


@dataclass(frozen=True)
class Case:
    """A text with the value or the error that it has to give."""

    text: str
    value: Any = None
    error: str | None = None

    def __str__(self) -> str:
        """Name the case in a report."""
        return self.text

    def check(self, answer: dict[str, Any]) -> None:
        """Hold an evaluator's `{"value": …}` or `{"error": …}` against the case."""
        if self.error is not None:
            assert answer == {"error": self.error}
        else:
            assert "error" not in answer, answer
            assert json_text(answer["value"]) == json_text(self.value)


_LITERALS: list[tuple[str, Any]] = [
    ("null", None),
    ("None", None),
    ("true", True),
    ("True", True),
    ("false", False),
    ("0", 0),
    ("-1", -1),
    ("- 1", -1),
    ("1_000", 1000),
    ("1.5", 1.5),
    (".5", 0.5),
    ("5.", 5),
    ("2.0", 2),
    ("1e3", 1000),
    ("1.5E-3", 0.0015),
    ("123456789012345678901234567890", 123456789012345678901234567890),
    ('"text"', "text"),
    ("'it\\'s'", "it's"),
    ('"a\\n\\t\\\\\\"\\/"', 'a\n\t\\"/'),
    ('"\\u00e9\\x41\\U0001F600"', "éA😀"),
    ("[]", []),
    ('[1, "a", [null]]', [1, "a", [None]]),
    ("[1, 2,]", [1, 2]),
    ("{}", {}),
    ('{"a": 1, "b": {"c": []}}', {"a": 1, "b": {"c": []}}),
    ('{"a": 1, "a": 2}', {"a": 2}),
    ('{"": input.n}', {"": 7}),
    ("(((1)))", 1),
    ("1\n+\n2", 3),
]

_PATHS: list[tuple[str, Any]] = [
    ("input.plan", "premium"),
    ("input.class", "A"),
    ("input.missing", None),
    ("input.missing.deeper.still", None),
    ("input", ENV["input"]),
    ('input["content-type"]', "csv"),
    ('input["plan"]', "premium"),
    ("input.object.bb", None),  # the environment is flat: this path is not in it
    ('input.object["bb"]', 1),
    ('input.object["a"][1].x', None),
    ('input.object["a"][0]', 1.5),
    ("input.users[0].id", 1),
    ("input.users[-1].id", 3),
    ("input.users[9].id", None),
    ("input.users[-4]", None),
    ("input.users[0].tags[1]", "y"),
    ("input.users[1.0].id", 2),
    ('input.users["id"]', None),
    ("input.users[input.zero].id", 1),
    ('input["pl" + "an"]', "premium"),
    ("input[0]", None),
    ("input.nothing[0]", None),
    ('input.nothing["x"]', None),
    ("input.n[0]", None),
    ("input.plan.upper", None),
    ("(input.plan).__class__", None),
    ("input.name[0]", "H"),
    ("input.name[1]", "é"),
    ("input.name[-1]", "😀"),
    ("input.name[7]", None),
    ("input.name[-8]", None),
    ("steps.fetch.output.rows[0]['content-type']", "csv"),
    ("steps.fetch.status", "completed"),
    ("run.id", "0190-ab"),
    ("item", {"url": "https://x"}),
    ("index", 3),
]

_LOGIC: list[tuple[str, Any]] = [
    ("true and false", False),
    ("true or 1 / 0", True),
    ("false and 1 / 0", False),
    ("null or 5", 5),
    ('"" or "x"', "x"),
    ("[] and 1", []),
    ("1 and 2 and 3", 3),
    ("0 or 0.0 or {}", {}),
    ("not null", True),
    ("not 0", True),
    ("not 0.0", True),
    ('not ""', True),
    ('not "0"', False),
    ("not []", True),
    ("not [0]", False),
    ("not {}", True),
    ('not {"a": 0}', False),
    ("not not input.n", True),
    ('"eu" if input.plan in ["premium"] else "us"', "eu"),
    ("1 / 0 if false else 2", 2),
    ("1 if input.empty else 2 if input.none else 3", 3),
]

_EQUALITY: list[tuple[str, Any]] = [
    ("1 == 1.0", True),
    ("input.one == 1", True),
    ("true == 1", False),
    ("false == 0", False),
    ("null == false", False),
    ("null == 0", False),
    ("null == null", True),
    ("input.nothing == null", True),
    ("input.missing == null", True),
    ('"1" == 1', False),
    ('"a" == "A"', False),
    ('"é" == "é"', True),
    ('"e\\u0301" == "é"', False),
    ("[1, 2] == [1.0, 2.0]", True),
    ("[1, 2] == [2, 1]", False),
    ("[1] == [true]", False),
    ("[1] == [1, 1]", False),
    ("[] == {}", False),
    ('{"a": 1, "b": 2} == {"b": 2.0, "a": 1}', True),
    ('{"a": 1} == {"a": 1, "b": null}', False),
    ('{"a": [true]} == {"a": [1]}', False),
    ("0.1 + 0.2 == 0.3", False),
    ("0.1 == 0.10000000000000000001", True),
    ("[0.1] == [0.10000000000000000001]", True),
    ("input.big == 9007199254740992", False),
    ("input.padded == 1.5", True),
    ("1 != 2", True),
    ("1 != 1.0", False),
    ("true != 1", True),
    ("1 == 1 == 1", True),
    ("0 == -0.0", True),
]

_ORDER: list[tuple[str, Any]] = [
    ("1 < 2", True),
    ("2 <= 2.0", True),
    ("2.5 > 2", True),
    ("2 >= 3", False),
    ("1 < 2 < 3", True),
    ("1 < 3 < 2", False),
    ("null < 1", False),
    ("1 < null", False),
    ("null >= null", False),
    ("input.missing > 0", False),
    ("null < [1]", False),
    ('"a" < "b"', True),
    ('"B" < "a"', True),
    ('"a" < "aa"', True),
    ('"" < "a"', True),
    ('"z" < "é"', True),
    ('"\uffff" < "😀"', True),
    ('"10" < "9"', True),
    ("input.big > 9007199254740992", True),
    ("input.huge > 1e29", True),
    ("-1 < -0.5", True),
    ("input.tiny > 0", True),
]

_MEMBERSHIP: list[tuple[str, Any]] = [
    ('"a" in input.words', True),
    ('"c" in input.words', False),
    ("1 in input.numbers", True),
    ("1.0 in [1]", True),
    ("true in [1]", False),
    ("1 in [true]", False),
    ("null in [null]", True),
    ("null in []", False),
    ("[1] in [[1.0]]", True),
    ("[1] in [[1, 2]]", False),
    ('{"a": 1} in [{"a": 1}]', True),
    ('{"a": 1} in [{"a": 1, "b": 2}]', False),
    ("[[1]] in [[[1]]]", True),
    ("0.1 in [0.10000000000000000001]", True),
    ('"bb" in input.object', True),
    ('"x" in input.object', False),
    ("1 in input.object", False),
    ('"él" in "Hél"', True),
    ('"le" in input.name', False),
    ('"éll" in input.name', True),
    ('"" in input.name', True),
    ('"" in ""', True),
    ('"x" in null', False),
    ('"x" not in null', True),
    ('"x" not in ["x"]', False),
    ("input.plan not in ['free', 'basic']", True),
]

_NUMBERS: list[tuple[str, Any]] = [
    ("1 + 2", 3),
    ("1 - 2", -1),
    ("2 * 3", 6),
    ("input.n - 0.5", 6.5),
    ("0.1 + 0.2", 0.30000000000000004),
    ("input.tenth * 3", 0.30000000000000004),
    ("0.5 + 0.5", 1),
    ("1 / 3", 0.3333333333333333),
    ("4 / 2", 2),
    ("7 / 2", 3.5),
    ("-7 / 2", -3.5),
    ("input.huge * input.huge", 10**60),
    ("input.big + 1", 9007199254740994),
    ("input.big / 1", 9007199254740992),
    ("input.huge / 1e30", 1),
    ("9007199254740993 * 1.5", 13510798882111488),
    ("1e16 + 0.5", 10**16),
    ("7 % 4", 3),
    ("-7 % 4", 1),
    ("7 % -4", -1),
    ("-7 % -4", -3),
    ("-8 % 4", 0),
    ("5.5 % 2", 1.5),
    ("-5.5 % 2", 0.5),
    ("5.5 % -2", -0.5),
    ("0.3 % 0.1", 0.09999999999999998),
    ("1e300 % 0.7", 0.3790560774266656),
    ("input.huge % 7", 1),
    ("-input.n", -7),
    ("--input.n", 7),
    ("-input.half", -0.5),
    ("1 + 2 * 3", 7),
    ("(1 + 2) * 3", 9),
    ("1e-200 * 1e-200", 0),
    ("1e-300 / 1e300", 0),
    ("5e-324 * 0.25", 0),
    ("1e308 * 1.5", int(1.5e308)),
    ('"a" + "b"', "ab"),
    ('"" + ""', ""),
    ("[1] + [2, 3]", [1, 2, 3]),
    ("[] + []", []),
]

_COMPREHENSIONS: list[tuple[str, Any]] = [
    ("[x for x in []]", []),
    ("[u.id for u in input.users if u.active]", [1, 3]),
    ("[x * 2 for x in [1, 2]]", [2, 4]),
    ("[x for x in range(5) if x % 2 == 1 if x > 1]", [3]),
    ("[[x, y] for x in [1, 2] for y in [3, 4]]", [[1, 3], [1, 4], [2, 3], [2, 4]]),
    ("[x + y for x in [1, 2] if x > 1 for y in [3, 4] if y > x]", [5, 6]),
    ("[t for u in input.users for t in u.tags]", ["x", "y", "z"]),
    ("[[y for y in range(x)] for x in range(3)]", [[], [0], [0, 1]]),
    ("[x for x in [1, 2] if x in [y for y in [2, 3]]]", [2]),
    ("[[x for x in [x, x]] for x in [1, 2]]", [[1, 1], [2, 2]]),
    ("[[x for x in [9]] + [x] for x in [1]]", [[9, 1]]),
    ('[k + "=" + str(v) for k, v in items({"a": 1, "b": 2})]', ["a=1", "b=2"]),
    ("[k for k, v in [[1, 2], [3]] if v == null]", [3]),
    ("[input for input in [1]]", [1]),
    ("[x.a.b for x in [{}, null]]", [None, None]),
    ('[{"n": x} for x in [1]]', [{"n": 1}]),
    ("[1 if x else null for x in [true, false]]", [1, None]),
    ("len([x for x in range(10000)])", 10000),
    ("sum([x for x in range(100) for y in range(10)])", 49500),
]

CASES: list[Case] = [
    *(
        Case(text, value=value)
        for group in (
            _LITERALS,
            _PATHS,
            _LOGIC,
            _EQUALITY,
            _ORDER,
            _MEMBERSHIP,
            _NUMBERS,
            FUNCTION_CASES,
            _COMPREHENSIONS,
        )
        for text, value in group
    ),
    *(Case(text, error=error) for text, error in ERROR_CASES),
]
