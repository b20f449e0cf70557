"""Annotations of a handler's parameters are filled from JSON, and wrong data is refused."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.worker.calls import Handlers, invoke, to_json_text
from pgflow_yaml.worker.calls.reading import InvalidArgument

if TYPE_CHECKING:
    from pgflow_yaml.worker.calls import Handler
    from tests.fixtures.apps import App

SHOP = """
    from __future__ import annotations
    import datetime as dt
    import enum
    import uuid
    from collections.abc import Mapping, Sequence
    from dataclasses import dataclass, field
    from decimal import Decimal
    from pathlib import Path
    from typing import TYPE_CHECKING, Any, Literal, Optional

    if TYPE_CHECKING:
        from elsewhere import Unknown

    class Plan(enum.Enum):
        FREE = "free"
        PAID = "paid"

    @dataclass
    class Line:
        sku: str
        price: Decimal
        count: int = 1
        notes: list[str] = field(default_factory=list)

    @dataclass(frozen=True, kw_only=True)
    class Order:
        id: uuid.UUID
        lines: list[Line]
        plan: Plan = Plan.FREE
        due: Optional[dt.date] = None
        parent: Order | None = None
        anything: Any = None
        size: tuple[int, int] = (1, 1)
        by_name: dict[str, Line] = field(default_factory=dict)
        total: Decimal = field(init=False, default=Decimal(0))

        def __post_init__(self):
            if not self.lines:
                raise ValueError("an order has a line")

    def one(order: Order): return order
    def many(orders: list[Order]): return orders
    def maybe(order: Optional[Order] = None): return order
    def each(lines: Sequence[Line], named: Mapping[str, Line]): return [lines, named]
    def either(x: Line | dt.date): return x
    def with_ctx(ctx, order: Order): return order
    def when(at: dt.datetime, day: dt.date, path: Path, plan: Plan): return [at, day, path, plan]
    def plain(n: int, names: list[str], unknown: Unknown, literal: Literal["a"]): return n
    async def later(order: Order): return order
    class Method:
        def __call__(self, order: Order): return order
"""
LINE = {"sku": "a", "price": "1.10"}
ID = "6a0e4a4c-7a3b-4d7e-9a53-3d0c3b6f8b11"
ORDER = {"id": ID, "lines": [LINE]}


def handler(app: App, name: str, text: str = SHOP) -> Handler:
    app.write("shop.py", text)
    return Handlers(app.folder).get(f"shop.{name}")


def called(handler: Handler, value: Any, *, named: bool = False) -> Any:
    return invoke(handler, value, None, named=named)


def test_a_dataclass_is_filled_with_everything_in_it(app: App) -> None:
    """Nested dataclasses, optional and everyday types, also where all annotations are texts."""
    order = called(
        handler(app, "one"),
        {
            **ORDER,
            "plan": "paid",
            "due": "2026-11-25",
            "parent": ORDER,
            "anything": {"x": [1]},
            "size": [2, 3],
            "by_name": {"x": {"sku": "b", "price": 2, "count": 2.0, "notes": ["n"]}},
        },
    )

    assert (type(order).__name__, str(order.id)) == ("Order", ID)
    assert [str(line.price) for line in order.lines] == ["1.10"]
    assert (order.plan.name, order.due, order.size) == ("PAID", dt.date(2026, 11, 25), (2, 3))
    assert (order.parent.lines[0].sku, order.parent.parent, order.anything) == (
        "a",
        None,
        {"x": [1]},
    )
    line = order.by_name["x"]
    assert (str(line.price), line.count, type(line.count), line.notes) == ("2", 2, int, ["n"])


def test_lists_options_and_choices_of_models(app: App) -> None:
    """`list[Model]`, `Optional[Model]`, the first fitting type of a union, by name or not."""
    assert called(handler(app, "many"), [ORDER, ORDER])[1].lines[0].sku == "a"
    assert called(handler(app, "maybe"), {"order": None}, named=True) is None
    assert called(handler(app, "maybe"), {}, named=True) is None
    lines, named = called(handler(app, "each"), {"lines": [LINE], "named": {"x": LINE}}, named=True)
    assert (lines[0].sku, named["x"].sku) == ("a", "a")
    assert called(handler(app, "either"), LINE).sku == "a"
    assert called(handler(app, "either"), "2026-11-25") == dt.date(2026, 11, 25)
    assert invoke(handler(app, "with_ctx"), {"order": ORDER}, object(), named=True).id  # type: ignore[arg-type, attr-defined]
    assert called(handler(app, "Method"), ORDER).lines[0].count == 1


def test_everyday_types_come_back_from_their_texts(app: App) -> None:
    """What one handler returns is what the next one's annotation gives it."""
    at = dt.datetime(2026, 11, 25, 8, 30, 0, 5, tzinfo=dt.UTC)
    value = called(
        handler(app, "when"),
        {"at": "2026-11-25T08:30:00.000005Z", "day": "2026-11-25", "path": "a/b", "plan": "free"},
        named=True,
    )

    assert value[:2] == [at, at.date()]
    assert to_json_text(value) == '["2026-11-25T08:30:00.000005Z","2026-11-25","a/b","free"]'


def test_other_annotations_change_nothing(app: App) -> None:
    """JSON's own types are not checked, and a name for type checkers is no error."""
    plain = handler(app, "plain")

    assert called(plain, {"n": "x", "names": 1, "unknown": 2, "literal": "b"}, named=True) == "x"
    assert plain.readers == {}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("one", 3, "argument order must be an object for Order, not 3"),
        ("one", {**ORDER, "id": "x"}, 'argument order.id must be a UUID, not "x"'),
        ("one", {"lines": []}, 'argument order: Order needs "id"'),
        ("one", {**ORDER, "lines": []}, "argument order: Order refuses it: an order has a line"),
        ("one", {**ORDER, "lines": [{**LINE, "price": "dear"}]},
         'argument order.lines[0].price must be a number, or its text, not "dear"'),
        ("one", {**ORDER, "lines": [{**LINE, "count": 1.5}]},
         "argument order.lines[0].count must be an integer, not 1.5"),
        ("one", {**ORDER, "lines": [{**LINE, "count": True}]},
         "argument order.lines[0].count must be an integer, not true"),
        ("one", {**ORDER, "lines": [{**LINE, "sku": None}]},
         "argument order.lines[0].sku must be a string, not null"),
        ("one", {**ORDER, "plan": "Free"},
         'argument order.plan must be one of "free", "paid", not "Free"'),
        ("one", {**ORDER, "due": "soon"},
         'argument order.due must be a date such as 2026-11-25, not "soon"'),
        ("one", {**ORDER, "line": 1},
         'argument order: Order has no "line"; did you mean "lines"?'),
        ("one", {**ORDER, "total": 1}, 'argument order: Order has no "total"'),
        ("one", {**ORDER, "size": [1]},
         "argument order.size must be a list of 2 items, not a list"),
        ("one", {**ORDER, "by_name": {"x": []}},
         "argument order.by_name.x must be an object for Line, not a list"),
        ("many", ORDER, "argument orders must be a list, not an object"),
        ("either", 3, "argument x must be Line or date, not 3"),
    ],
)  # fmt: skip
def test_wrong_data_is_one_sentence_with_parameter_and_field(
    app: App, name: str, value: Any, sentence: str
) -> None:
    """A person finds the place in the data; the run does not try again."""
    with pytest.raises(InvalidArgument) as refused:
        called(handler(app, name), value)

    assert str(refused.value) == sentence


MODELS = """
    import datetime as dt
    from decimal import Decimal
    from pydantic import BaseModel, ConfigDict, Field
    from pydantic.dataclasses import dataclass

    class Line(BaseModel):
        sku: str
        price: Decimal = Field(gt=0)

    class Order(BaseModel):
        model_config = ConfigDict(strict=True)
        lines: list[Line]
        at: dt.datetime | None = None

    @dataclass
    class Box:
        width: int

    def one(order: Order): return order
    def many(orders: list[Order] | None): return orders
    def box(box: Box): return box
"""


def test_a_model_of_pydantic_is_filled_and_written_by_its_own_rules(app: App) -> None:
    """Strict models take dates and decimals from their texts; models may be in lists."""
    value = {"lines": [LINE], "at": "2026-11-25T08:30:00Z"}

    order = called(handler(app, "one", MODELS), value)
    assert (type(order).__name__, str(order.lines[0].price)) == ("Order", "1.10")
    assert to_json_text({"o": [order]}) == (
        '{"o":[{"lines":[{"sku":"a","price":"1.10"}],"at":"2026-11-25T08:30:00Z"}]}'
    )
    assert called(handler(app, "many", MODELS), [value])[0].at == order.at
    assert called(handler(app, "many", MODELS), None) is None
    assert to_json_text(called(handler(app, "box", MODELS), {"width": 3})) == '{"width":3}'


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("one", {"lines": [{"sku": "a", "price": -1}, 3]},
         "argument order.lines[0].price: input should be greater than 0 (and 1 more)"),
        ("many", [{}], "argument orders[0].lines: field required"),
        ("one", 3, "argument order: input should be an object"),
        ("box", {"width": None}, "argument box.width: input should be a valid integer"),
    ],
)  # fmt: skip
def test_a_model_refuses_wrong_data_in_one_sentence(
    app: App, name: str, value: Any, sentence: str
) -> None:
    """The first problem with its place, and how many more there are."""
    with pytest.raises(InvalidArgument) as refused:
        called(handler(app, name, MODELS), value)

    assert str(refused.value) == sentence
