"""The key and the input of a run that a webhook starts, from a request with a good signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgflow_yaml.language.expressions import ExpressionError, evaluate
from pgflow_yaml.language.expressions.values import kind, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgflow_yaml.language.model import Json

KEPT_BACK = frozenset(
    {
        *("authorization", "cookie", "proxy-authorization", "x-api-key"),
        *("x-auth-request-access-token", "x-forwarded-access-token"),
        *("webhook-signature", "stripe-signature", "x-hub-signature", "x-hub-signature-256"),
    }
)
"""The headers that prove who sends or asks: expressions do not know them, and no run keeps them."""


def known_headers(headers: Mapping[str, str]) -> dict[str, Json]:
    """Return the headers that expressions know; the names are in lower case already."""
    return {name: value for name, value in headers.items() if name not in KEPT_BACK}


def key_of(webhook: Mapping[str, Any], headers: Mapping[str, Json], body: Json) -> str | None:
    """Return the key that `key` gives to the run, None without one; raises ExpressionError."""
    if "key" not in webhook:
        return None
    value = _value(webhook["key"], headers, body)
    if value is None or isinstance(value, dict | list):
        raise ExpressionError(f"needs a text, a number or a boolean, not {kind(value)}")
    return text_of(value)


def input_of(webhook: Mapping[str, Any], headers: Mapping[str, Json], body: Json) -> Json:
    """Return the input of the run: the body, or what `input` gives; raises ExpressionError."""
    return _value(webhook["input"], headers, body) if "input" in webhook else body


def _value(formula: Mapping[str, Any], headers: Mapping[str, Json], body: Json) -> Json:
    roots: dict[str, Json] = {"headers": dict(headers), "body": body}
    return evaluate(formula["ast"], {path: _read(path, roots) for path in formula["paths"]})


def _read(path: str, roots: Json) -> Json:
    value = roots
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value
