"""Random JSON and random expression trees over it, to compare the two evaluators.

A tree is made for a wanted kind, so that most have a value; some parts are of another kind.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_KNOWN_TEXTS = [
    "",
    "a",
    "b",
    "ab",
    " a b ",
    "1",
    "-7",
    "1.50",
    "1e3",
    "ß",
    "😀",
    "[1, 2.0]",
    '{"a": null}',
    "A,b,,",
]
_KNOWN_NUMBERS = [
    0.0,
    -0.0,
    1.0,
    0.1,
    0.2,
    0.3,
    -2.5,
    5e-324,
    1e-7,
    1e16,
    1.5e300,
    2.0**70,
    1e22,
    0.5,
    2**53 + 1,
]
_KEYS = ["a", "b", "bb", ""]

TEXTS = st.one_of(st.sampled_from(_KNOWN_TEXTS), st.text(_CHARACTERS, max_size=6))
NUMBERS = st.one_of(
    st.integers(-12, 12),
    st.integers(-(2**70), 2**70),
    st.sampled_from(_KNOWN_NUMBERS),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1000, 1000),
)
ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(_KEYS), TEXTS), inner, max_size=3),
    ),
    max_leaves=6,
)
LISTS = st.one_of(
    st.lists(ANY, max_size=4), st.lists(NUMBERS, max_size=5), st.lists(TEXTS, max_size=5)
)
OBJECTS = st.dictionaries(st.one_of(st.sampled_from(_KEYS), TEXTS), ANY, max_size=4)
VALUES = {
    "number": NUMBERS,
    "text": TEXTS,
    "list": LISTS,
    "object": OBJECTS,
    "any": ANY,
    "boolean": st.booleans(),
}

# kind: trees of that kind; each word is a part of that kind, "=…" stands for itself
SHAPES: dict[str, list[str]] = {
    "number": [
        *(f"{symbol} number number" for symbol in "+-*/%"),
        "neg number",
        *(
            "call =len text",
            "call =len list",
            "call =len object",
            "call =int number",
            "call =float number",
        ),
        *(
            "call =int text",
            "call =float text",
            "call =abs number",
            "call =sum list",
            "call =min number number",
        ),
    ],
    "text": [
        "+ text text",
        "text text any number",
        "text any",
        *(
            "call =str any",
            "call =to_json any",
            "call =lower text",
            "call =upper text",
            "call =strip text",
        ),
        *("call =join list text", "call =replace text text text"),
    ],
    "list": [
        "+ list list",
        *("list any any", "list number number number", "list list list", "list"),
        *("call =keys object", "call =values object", "call =items object", "call =flatten list"),
        *(
            "call =chunk list number",
            "call =product list list",
            "call =split text",
            "call =split text text",
        ),
        *("call =sorted list", "call =range number number number"),
    ],
    "object": ["dict key any key number", "dict", "call =merge object object"],
    "boolean": [
        *(f"{symbol} any any" for symbol in ("==", "!=", "and", "or")),
        *(f"{symbol} number number" for symbol in ("==", "!=", "<", "<=", ">", ">=")),
        *(f"{symbol} text text" for symbol in ("<", "<=", ">", ">=", "in")),
        *("in any list", "notin number list", "in text object", "not any"),
        *(
            "call =startswith text text",
            "call =endswith text text",
            "call =any list",
            "call =all list",
        ),
    ],
    "any": [
        *(
            "index list number",
            "index text number",
            "index object text",
            "get object key",
            "get any key",
        ),
        *(
            "if any any any",
            "or any any",
            "call =default any any",
            "call =json text",
            "call =max list",
            "call =min list",
        ),
    ],
}


@st.composite
def trees(
    draw: st.DrawFn, kind: str = "any", depth: int = 3, variables: tuple[str, ...] = ()
) -> Any:
    """A tree of about this kind; a loop variable stands only inside its loop."""
    if draw(st.integers(0, 19)) == 0:
        kind = draw(st.sampled_from([*SHAPES]))
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return _leaf(draw, kind, variables)
    if kind == "any":
        kind = draw(st.sampled_from([*SHAPES, "any"]))
    if kind == "list" and draw(st.integers(0, 2)) == 0:
        return _loop(draw, depth, variables)
    operator, *parts = draw(st.sampled_from(SHAPES[kind])).split()
    made = ["not in" if operator == "notin" else operator]
    for part in parts:
        if part == "key":
            made.append(draw(st.sampled_from(_KEYS)))
        elif part.startswith("="):
            made.append(part[1:])
        else:
            made.append(draw(trees(part, depth - 1, variables)))
    return made


def _leaf(draw: st.DrawFn, kind: str, variables: tuple[str, ...]) -> Any:
    choice = draw(st.integers(0, 2 if variables else 1))
    if choice == 2:
        return ["var", draw(st.sampled_from(variables))]
    return ["path", f"input.{kind}"] if choice else ["lit", draw(VALUES[kind])]


def _loop(draw: st.DrawFn, depth: int, variables: tuple[str, ...]) -> Any:
    name = draw(st.sampled_from(["u", "v"]))
    inside = (*variables, name)
    condition = draw(st.one_of(st.none(), trees("boolean", depth - 1, inside)))
    return [
        "for",
        draw(trees("any", depth - 1, inside)),
        name,
        draw(trees("list", depth - 1, variables)),
        condition,
    ]


def environments() -> st.SearchStrategy[dict[str, Any]]:
    """A value of its kind for each path; any value for input.any."""
    return st.fixed_dictionaries({f"input.{kind}": values for kind, values in VALUES.items()})
