"""Differences between two versions, in words."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgflow_yaml import diff
from pgflow_yaml.language.compiler import compile_flow, version_of
from pgflow_yaml.language.model import Definition
from tests.unit.flows import check

if TYPE_CHECKING:
    from collections.abc import Callable

ORDER = """flow: order
description: sells things
input:
  order_id: {type: integer}
  plan: {type: string, default: free}
steps:
  reserve: {handler: shop.reserve}
  quote:
    handler: shop.quote
    if: input.plan == "premium"   # a comment
  charge:
    handler: shop.charge
    depends_on: [reserve, quote]
    retry: 3
    timeout: 60s
    with:
      amount: ${{ steps.quote.output.total }}
      note: "order ${{ input.order_id }}"
  ship:
    handler: shop.ship
    depends_on: [charge]
"""

QUOTED = "${{ steps.quote.output.total }}"


def compiled(text: str) -> Definition:
    """Compile a text that has no mistake."""
    checked = check(text)
    assert checked.diagnostics == ()
    return compile_flow(checked.require(), source=text)


def of_body(body: dict[str, Any]) -> Definition:
    """A definition that has no file."""
    return Definition(
        name=body["flow"],
        version=version_of(body),
        body=body,
        order=(*body["steps"], *body.get("finally", {})),
        description=None,
        source="",
    )


def sentences(old: str, new: str, *, text: str = ORDER) -> list[str]:
    """The changes that replacing a part of the file makes."""
    assert old in text
    return [change.text for change in diff(compiled(text), compiled(text.replace(old, new)))]


def test_the_same_file_has_no_difference() -> None:
    """Nor has one that differs in comments, descriptions, order of keys and anchors."""
    other = ORDER.replace("# a comment", "").replace("sells things", "sells other things")
    head, tail = other.split("  ship:\n")
    moved = head.replace("steps:\n", f"steps:\n  ship:\n{tail}")

    assert diff(compiled(ORDER), compiled(ORDER)) == []
    assert diff(compiled(ORDER), compiled(moved)) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("retry: 3", "retry: 5", ["step charge: retry.max_attempts 3 → 5"]),
        ("timeout: 60s", "timeout: 90s", ["step charge: timeout 1m → 90s"]),
        ("retry: 3", "retry: {jitter: false}", ["step charge: retry.jitter true → false"]),
        ("shop.ship", "shop.send", ["step ship: handler shop.ship → shop.send"]),
        ("[charge]", "[charge, quote]", ["step ship: now depends on quote"]),
        ("[reserve, quote]", "[quote]", ["step charge: no longer depends on reserve"]),
        (
            'if: input.plan == "premium"',
            "if: input.plan != 'free'",
            ["""step quote: if input.plan == "premium" → input.plan != 'free'"""],
        ),
        (
            '    if: input.plan == "premium"',
            "   ",
            ['step quote: if input.plan == "premium" → always'],
        ),
        (
            "steps.quote.output.total",
            "steps.quote.output.sum",
            [f"step charge: with.amount {QUOTED} → {QUOTED.replace('total', 'sum')}"],
        ),
        (
            'note: "order ${{ input.order_id }}"',
            "memo: 1",
            ["step charge: with.memo added: 1", "step charge: with.note removed"],
        ),
        ("default: free", "default: premium", ['input plan: default "free" → "premium"']),
        ("{type: integer}", "{type: string}", ['input order_id: type "integer" → "string"']),
        (", default: free}", "}", ['input plan: default "free" → none']),
        (
            "  order_id:",
            '  more: {type: [string, "null"], default: null}\n  order_id:',
            ["input more: added, string or null, default null"],
        ),
        ("flow: order", "flow: sale", ["flow: name order → sale"]),
        (
            "depends_on: [charge]",
            "depends_on: {charge: any}\n    handles: false",
            ["step ship: depends_on charge success → any", "step ship: handles true → false"],
        ),
        (
            "  ship:\n    handler: shop.ship\n    depends_on: [charge]\n",
            "",
            ["step ship: removed"],
        ),
        (
            "  reserve:",
            "  audit: {handler: shop.audit, depends_on: [ship]}\n  reserve:",
            ["step audit: added, handler shop.audit, after ship"],
        ),
    ],
)
def test_a_change_is_said_in_words(old: str, new: str, words: list[str]) -> None:
    """One sentence for each thing that changed, and nothing else."""
    assert sentences(old, new) == words


def test_a_flow_that_listens_has_an_input_that_nobody_wrote() -> None:
    """Only `after` is told, and what the file declared before."""
    plain = "flow: alert\ninput: {text: {type: string}}\nsteps: {a: {handler: x.a}}\n"
    old = plain.replace("input: {text: {type: string}}", "after: {flows: order}")
    new = plain.replace("input: {text: {type: string}}", "after: {flows: order, status: completed}")

    assert [change.text for change in diff(compiled(old), compiled(new))] == [
        'flow: after.status ["failed"] → ["completed"]'
    ]
    assert [change.text for change in diff(compiled(plain), compiled(old))] == [
        'flow: after none → flows ["order"], status ["failed"]',
        "input text: removed",
    ]


def test_a_renamed_step_is_one_change() -> None:
    """Edges and expressions that follow the new name are no changes of their own."""
    renamed = ORDER.replace("quote", "offer").replace("shop.offer", "shop.quote")

    assert [change.text for change in diff(compiled(ORDER), compiled(renamed))] == [
        "step quote: renamed to offer"
    ]


def test_a_renamed_step_hides_no_other_change() -> None:
    """Changes in its dependents are still listed, with the new name."""
    renamed = ORDER.replace("quote", "offer").replace("shop.offer", "shop.quote")
    changed = renamed.replace("output.total", "output.sum").replace("retry: 3", "retry: 1")

    assert [change.text for change in diff(compiled(ORDER), compiled(changed))] == [
        "step quote: renamed to offer",
        "step charge: with.amount ${{ steps.offer.output.total }} → ${{ steps.offer.output.sum }}",
        "step charge: retry.max_attempts 3 → 1",
    ]


def test_a_renamed_step_of_finally_is_told_as_one() -> None:
    """The section of the step is part of the sentence, as for every other change."""
    old = "flow: f\nsteps:\n  a: {handler: m.f}\nfinally:\n  b: {handler: m.g}\n"

    (change,) = diff(compiled(old), compiled(old.replace("  b:", "  c:")))

    assert (change.kind, change.path) == ("renamed", "finally.c")
    assert change.text == "finally step b: renamed to c"


def test_two_steps_that_do_the_same_are_not_taken_for_each_other() -> None:
    """Where a rename is in doubt, steps are removed and added."""
    old = "flow: f\nsteps:\n  a: {handler: m.f}\n  b: {handler: m.f}\n"
    new = "flow: f\nsteps:\n  c: {handler: m.f}\n  d: {handler: m.f}\n"

    kinds = [change.kind for change in diff(compiled(old), compiled(new))]

    assert sorted(kinds) == ["added", "added", "removed", "removed"]


def test_a_definition_without_its_file_is_told_from_its_tree() -> None:
    """The condition is written again."""
    before, after = compiled(ORDER), compiled(ORDER.replace('== "premium"', '!= "free"'))

    (change,) = diff(replace(before, source=""), replace(after, source="not: yaml: at all"))

    assert change.before == 'input.plan == "premium"'
    assert change.after == 'input.plan != "free"'
    assert change.path == "steps.quote.if"


FORMULA = {"ast": ["path", "input.x"], "paths": ["input.x"]}
RICH: dict[str, Any] = {
    "flow": "rich",
    "input_schema": {"type": "array", "items": {"type": "string"}},
    "output": {"ast": ["dict", "n", ["path", "steps.a.output"]], "paths": ["steps.a.output"]},
    "timeout": 60_000,
    "fail_fast": False,
    "steps": {
        "a": {
            "handler": "m.f",
            "depends_on": {},
            "map": FORMULA,
            "tolerate": {"percent": 5.0},
            "max_parallel": 4,
            "retry": {"max_attempts": 3, "if": FORMULA},
            "repeat": {"until": FORMULA, "every": 5000, "max": 100},
        },
        "b": {"wait": {"event": "approval", "timeout": 1000}, "depends_on": {"a": "success"}},
        "c": {"flow": "child@0123456789ab", "depends_on": {"b": "any"}, "with": FORMULA},
    },
    "finally": {"z": {"handler": "m.z", "depends_on": {}, "queue": "slow"}},
}


def drop(*path: str) -> Callable[[Any], None]:
    """Leave out a key."""

    def change(body: Any) -> None:
        for key in path[:-1]:
            body = body[key]
        del body[path[-1]]

    return change


def put(value: Any, *path: str) -> Callable[[Any], None]:
    """Give a key a value."""

    def change(body: Any) -> None:
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("fail_fast"), "flow: fail_fast false → true"),
        (drop("timeout"), "flow: timeout 1m → none"),
        (put(7_200_000, "timeout"), "flow: timeout 1m → 2h"),
        (
            drop("output"),
            'flow: output {"n": ${{ steps.a.output }}} → the outputs of the leaf steps',
        ),
        (
            put("object", "input_schema", "items", "type"),
            'flow: input_schema.items.type "string" → "object"',
        ),
        (drop("steps", "a", "max_parallel"), "step a: max_parallel 4 → none"),
        (put(3, "steps", "a", "tolerate"), "step a: tolerate 5% → 3"),
        (drop("steps", "a", "retry", "if"), "step a: retry.if input.x → always"),
        (
            put({"percent": 7.5}, "steps", "a", "tolerate"),
            "step a: tolerate 5% → 7.5%",
        ),
        (
            drop("steps", "a", "repeat"),
            "step a: repeat until input.x, every 5s, max 100 → none",
        ),
        (put(None, "steps", "a", "repeat", "max"), "step a: repeat.max 100 → none"),
        (put(60_000, "steps", "a", "repeat", "every"), "step a: repeat.every 5s → 1m"),
        (put("yes", "steps", "b", "wait", "event"), "step b: wait.event approval → yes"),
        (
            put({"for": 60_000}, "steps", "b", "wait"),
            "step b: wait.for none → 1m",
        ),
        (put("failure", "steps", "c", "depends_on", "b"), "step c: depends_on b any → failure"),
        (put("child", "steps", "c", "flow"), "step c: flow child@0123456789ab → child"),
        (drop("steps", "c", "with"), "step c: with ${{ input.x }} → the merged outputs"),
        (drop("finally", "z", "queue"), "finally step z: queue slow → the flow's own"),
        (drop("finally"), "finally step z: removed"),
        (
            put({"handler": "m.c", "depends_on": {"b": "any"}}, "steps", "c"),
            "step c: flow child@0123456789ab → handler m.c",
        ),
    ],
)
def test_every_part_of_the_language_has_its_words(change: Any, words: str) -> None:
    """Also those that a file leaves out by default."""
    body = copy.deepcopy(RICH)
    change(body)

    assert words in [change.text for change in diff(of_body(RICH), of_body(body))]


def test_only_another_order_of_keys_is_said_so() -> None:
    """Versions that differ have at least one difference, be it this one."""
    tree: Any = ["dict", "a", ["lit", 1], "b", ["lit", 2]]
    other: Any = ["dict", "b", ["lit", 2], "a", ["lit", 1]]
    one, two = (copy.deepcopy(RICH) for _ in range(2))
    one["steps"]["a"]["with"] = {"ast": tree, "paths": []}
    two["steps"]["a"]["with"] = {"ast": other, "paths": []}

    (change,) = diff(of_body(one), of_body(two))

    assert "only the order of keys" in change.text


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every key of a definition, except what makes up a formula."""
    paths = []
    for key, inner in value.items():
        paths.append((*path, key))
        if isinstance(inner, dict) and inner.keys() != {"ast", "paths"}:
            paths += leaves(inner, (*path, key))
    return paths


VITAL = {("flow",), ("steps",)}
PLACES = [path for path in leaves(RICH) if path not in VITAL and path[-1] != "depends_on"]


@given(st.sampled_from(PLACES), st.sampled_from(PLACES))
def test_whatever_is_left_out_is_told(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """Versions differ if and only if there is a change, in both directions."""
    body = copy.deepcopy(RICH)
    for path in {first, second}:
        holder: Any = body
        for key in path[:-1]:
            holder = holder.get(key, {})
        holder.pop(path[-1], None)
    if any(not {"handler", "flow", "wait"} & set(step) for step in body["steps"].values()):
        return
    body["finally"] = {k: v for k, v in body.get("finally", {}).items() if "handler" in v}

    forth, back = diff(of_body(RICH), of_body(body)), diff(of_body(body), of_body(RICH))

    assert forth
    assert back
    assert all(change.text for change in forth + back)
