"""Expressions that are heavy over a megabyte of input, for both evaluators.

Each is given an answer (a value, or an error) within a second and 64 MB, the same in both.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

_WORD = "all work and no play "


@functools.cache
def environment() -> dict[str, Json]:
    """Inputs of about a megabyte of JSON each, of several shapes, and some small ones."""
    return {
        "input.text": _WORD * 50_000,
        "input.wide": "ü" * 500_000,
        "input.commas": "a," * 500_000,
        "input.spaces": "a \n\t" * 250_000,
        "input.needle": "b" + "a" * 400_000,
        "input.hay": "a" * 600_000,
        "input.zeros": "[" + "0," * 500_000 + "0]",
        "input.fractions": "[" + "1e5,0.25," * 110_000 + "0]",
        "input.boxes": "[" + "[0]," * 250_000 + "0]",
        "input.rows": [
            {"id": n, "name": f"row {n}", "tags": ["a", "b"], "on": n % 2 == 0}
            for n in range(10_000)
        ],
        "input.blocks": [_WORD * 470 for _ in range(100)],
        "input.numbers": [n * 7919 % 99_991 for n in range(10_000)],
        "input.decimals": [n / 7 for n in range(10_000)],
        "input.dense": [[0] * 10 for _ in range(30_000)],
        "input.copy": [[0] * 10 for _ in range(30_000)],
        "input.other": [[0] * 10 if n < 29_999 else [1] for n in range(30_000)],
        "input.keys": {f"key {n}": n for n in range(50_000)},
        "input.digits": int("7" * 4_000),
        "input.half": int("7" * 2_100),
        "input.tiny": 1.5e-300,
        "input.huge": 1.7e300,
        "input.small": [1, 2, 3],
    }


HEAVY: list[str] = [
    # comprehensions and their products
    "[x * y for x in range(1000) for y in range(1000)]",
    "len([[x, y] for x in input.numbers for y in input.numbers])",
    "[input.rows for x in range(10000)]",
    "len([input.rows for x in range(10000)])",
    "[input.rows[i].id for i in range(10000)]",
    "[len(input.text) for x in range(10000)]",
    "len([[b, b, b, b, b, b, b, b] for b in input.blocks])",
    "len([[b for x in range(1000)] for b in input.blocks])",
    "[b for b in input.blocks for x in range(1000) if b == 'a']",
    "[r.id for r in input.rows if r.on]",
    # texts that grow
    "input.text + input.text",
    "len([input.text + 'x' for x in range(10000)])",
    "[b + b + b + b for b in input.blocks]",
    "replace(input.text, 'a', input.text)",
    "replace(input.commas, 'a', 'aaaaaaaa')",
    "replace(input.hay, input.needle, 'x')",
    "[len(replace(b, 'all', 'none')) for b in input.blocks]",
    "len(join([input.text for x in range(100)], ','))",
    "join(range(10000), input.text)",
    "join(input.rows, ',')",
    "len(join(input.dense, ','))",
    "[upper(input.text) for x in range(10000)]",
    "[input.wide[i] for i in range(10000)]",
    # splits
    "split(input.commas, ',')",
    "split(input.spaces)",
    "split(input.hay, input.needle)",
    "len(split(input.text, 'work'))",
    # comparisons and tests
    "input.dense == input.copy",
    "input.dense == input.other",
    "[input.dense == input.other for x in range(10000)]",
    "[x == y for x in input.rows for y in input.rows]",
    "[input.rows == input.rows for x in range(100)]",
    "[x for x in input.numbers if x in input.numbers]",
    "[x for x in range(1000) if x + 0.5 in input.decimals]",
    "[x for x in range(200) if [x] in input.dense]",
    "[x for x in input.small if input.dense in input.dense]",
    "input.needle in input.hay",
    "[x for x in range(10000) if input.needle in input.hay]",
    "[k for k in range(10000) if str(k) in input.keys]",
    # lists and objects
    "sorted(input.numbers)[0] + sorted(input.decimals)[0]",
    "[sorted(input.numbers)[x] for x in range(1000)]",
    "[sum(input.numbers) for x in range(1000)]",
    "[max(input.decimals) for x in range(1000)]",
    "len(input.blocks + input.blocks + input.blocks + input.blocks + input.blocks)",
    "[len(input.numbers + [x]) for x in range(1000)]",
    "len(product(input.blocks, input.blocks))",
    "len(flatten([input.small + [x] for x in input.numbers]))",
    "len(chunk(input.numbers, 1)) + len(chunk(input.rows, 3))",
    "merge(input.keys, {'a': 1})",
    "[merge(input.keys, {'a': x}) for x in range(1000)]",
    "len(merge(input.keys, input.keys, input.keys, input.keys, input.keys, input.keys))",
    "keys(input.keys)",
    "[[input.rows, input.rows, input.rows], [input.rows, input.rows, input.rows]]",
    # JSON
    "to_json(input.rows) + to_json(input.rows)",
    "len(to_json(input.dense)) + len(str(input.dense)) + len(to_json(input.copy))",
    "[len(to_json(input.dense)) for x in range(1000)]",
    "len(json(input.zeros)) + len(json(input.zeros)) + len(json(input.zeros))",
    "len(json(input.fractions)) + len(json(input.fractions)) + len(json(input.fractions))",
    "len(json(input.boxes)) + len(json(input.boxes)) + len(json(input.boxes))",
    "json(input.boxes)",
    # numbers
    "[input.half * input.half for x in range(10000)]",
    "[input.digits % (input.half + x) for x in range(10000)]",
    "[str(input.digits - x) for x in range(10000)]",
    "len([input.digits - x for x in range(10000)])",
    "[(input.huge + x) % 3.5 for x in range(10000)]",
    "[x * input.huge for x in range(10000)]",
    "[(x + 0.5) * input.tiny for x in range(10000)]",
]
