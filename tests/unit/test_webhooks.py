"""The key `webhook`: what reaches the definition, and what a request makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pgflow_yaml import diff
from pgflow_yaml.language.compiler import compile_flow
from pgflow_yaml.language.expressions import ExpressionError
from pgflow_yaml.language.webhooks import input_of, key_of, known_headers
from tests.unit.flows import a_flow, check, codes

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

BODY: Json = {"id": 7, "order": {"lines": [1, 2]}, "none": None}
HEADERS: dict[str, Json] = {"x-event": "paid", "host": "shop.example"}


def webhook_of(more: str, *, head: str = "input: {order: {}}") -> dict[str, Any]:
    """Compile the webhook of a flow that has to be valid."""
    text = a_flow("a: {handler: x.a}", f"webhook: {{secret: HOOK{more}}}\n{head}")
    return cast("dict[str, Any]", compile_flow(check(text).require()).body["webhook"])


def test_a_webhook_has_only_what_is_written() -> None:
    """A key that is left out is not in the definition."""
    formula = {"ast": ["path", "body.id"], "paths": ["body.id"]}

    assert webhook_of("") == {"secret": "HOOK"}
    assert webhook_of(", key: body.id") == {"secret": "HOOK", "key": formula}
    assert webhook_of(', input: {order: "${{ body.id }}"}') == {
        "secret": "HOOK",
        "input": {"ast": ["dict", "order", ["path", "body.id"]], "paths": ["body.id"]},
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("body.id", "7"),
        ("body.id == 7", "true"),
        ("body.id / 2", "3.5"),
        ('headers["x-event"]', "paid"),
        ("headers.host + str(body.id)", "shop.example7"),
        ('body["id"]', "7"),
    ],
)
def test_a_key_is_a_text(key: str, value: str) -> None:
    """Numbers and booleans become texts as in templates."""
    assert key_of(webhook_of(f", key: '{key}'"), HEADERS, BODY) == value


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("body", "an object"),
        ("body.order.lines", "a list"),
        ("body.none", "null"),
        ("body.missing.deep", "null"),
        ('headers["x-missing"]', "null"),
    ],
)
def test_a_key_that_tells_nothing_apart_is_refused(key: str, kind: str) -> None:
    """Null above all: every request without the field would have the same key."""
    with pytest.raises(ExpressionError, match=f"not {kind}"):
        key_of(webhook_of(f", key: '{key}'"), HEADERS, BODY)


def test_without_a_key_there_is_none() -> None:
    """The server then takes what was signed."""
    assert key_of(webhook_of(""), HEADERS, BODY) is None


def test_an_input_is_the_template_or_the_body() -> None:
    """Values keep their types."""
    given = webhook_of(', input: {order: ["${{ body.order }}", "n ${{ body.id }}"]}')

    assert input_of(given, HEADERS, BODY) == {"order": [{"lines": [1, 2]}, "n 7"]}
    assert input_of(webhook_of(""), HEADERS, BODY) == BODY


def test_what_the_sender_keeps_secret_is_not_known() -> None:
    """No template can store it, nor a computed name reach it."""
    sent = {
        "x-event": "paid",
        "host": "shop.example",
        "authorization": "Basic x",
        "cookie": "a=b",
        "proxy-authorization": "y",
        "x-api-key": "k",
        "x-auth-request-access-token": "t",
        "x-forwarded-access-token": "t",
        "webhook-signature": "v1,x",
        "stripe-signature": "t=1,v1=x",
        "x-hub-signature-256": "sha256=x",
    }

    assert known_headers(sent) == HEADERS


@pytest.mark.parametrize(
    ("webhook", "expected"),
    [
        ("{key: body.id}", ["PF101"]),
        ("{secret: 5}", ["PF103"]),
        ("{secret: a-b}", ["PF107"]),
        ('{secret: "${{ secrets.HOOK }}"}', ["PF107"]),
        ("{secret: whsec_c2VjcmV0}", ["PF272"]),
        ("{secret: HOOK, key: '1 + 1'}", ["PF272"]),
        ("{secret: HOOK, key: 'headers'}", ["PF106"]),
        ("{secret: HOOK, key: '[body.id]'}", ["PF106"]),
        ("{secret: HOOK, key: run.id}", ["PF230"]),
        ("{secret: HOOK, key: secrets.HOOK}", ["PF230"]),
        ("{secret: HOOK, key: input.order}", ["PF230"]),
        ("{secret: HOOK, key: bodi.id}", ["PF214"]),
        ("{secret: HOOK, key: headers.Host}", ["PF215"]),
        ("{secret: HOOK, key: headers.host.x}", ["PF215"]),
        ("{secret: HOOK, key: headers.authorization}", ["PF215"]),
        ("{secret: HOOK, input: {ordr: 1}}", ["PF271", "PF271"]),
        ("{secret: HOOK, input: 5}", ["PF271"]),
        ("{secret: HOOK, idempotency_key: body.id}", ["PF105"]),
        ("HOOK", ["PF103"]),
    ],
)
def test_a_mistake_is_found(webhook: str, expected: list[str]) -> None:
    """Before anything is deployed, each at its place."""
    assert codes(a_flow("a: {handler: x.a}", f"webhook: {webhook}\ninput: {{order: {{}}}}")) == (
        expected
    )


def test_the_names_of_a_request_are_known_nowhere_else() -> None:
    """A step reads the input that the webhook has given."""
    assert codes(a_flow("a: {handler: x.a, if: body.paid}")) == ["PF230"]
    assert codes(a_flow("a: {handler: x.a}", "output: '${{ headers }}'")) == ["PF230"]
    assert codes(a_flow("a: {handler: x.a, map: '[body for body in [1]]'}")) == []


def test_a_change_of_a_webhook_is_a_new_version_told_in_words() -> None:
    """Deploying another secret or key is not silent."""
    before, after = (
        compile_flow(check(a_flow("a: {handler: x.a}", head)).require())
        for head in (
            "webhook: {secret: ONE, key: body.id}",
            "webhook: {secret: TWO, key: body.id + 1}",
        )
    )

    assert before.version != after.version
    assert [change.text for change in diff(before, after)] == [
        "flow: webhook.secret ONE → TWO",
        "flow: webhook.key body.id → body.id + 1",
    ]
