"""The resources that a step needs and a worker offers: `cpus`, `gpus`, `memory`, and others."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from pgflow_yaml.language import sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMORY = "memory"
MOST = 1_000_000
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,46}")
_SINGULAR = {"cpus": "cpu", "gpus": "gpu"}


def key_of(handler: str, needs: Mapping[str, float]) -> str:
    """Return a handler with its needs as one text, as the database has it: `app.fit gpus=1`."""
    return " ".join([handler, *(f"{name}={_number(needs[name])}" for name in sorted(needs))])


def of_key(key: str) -> tuple[str, dict[str, float]]:
    """Return the handler and the needs of such a text."""
    handler, *parts = key.split(" ")
    pairs = (part.partition("=") for part in parts)
    return handler, {name: float(amount) for name, _, amount in pairs}


def phrase(needs: Mapping[str, float]) -> str:
    """Return needs in words: `1 gpu and 8GB of memory`."""
    words = []
    for name, amount in needs.items():
        if name == MEMORY:
            words.append(f"{sizes.as_text(amount)} of memory")
        else:
            noun = _SINGULAR.get(name, name) if amount == 1 else name
            words.append(f"{_number(amount)} {noun}")
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def lacking(needs: Mapping[str, float], offer: Mapping[str, float]) -> dict[str, float]:
    """Return the needs that an offer does not meet."""
    return {name: amount for name, amount in needs.items() if amount > offer.get(name, 0)}


def parse(text: str) -> dict[str, float]:
    """Return the resources of `gpus=1,memory=16GB`; raise ValueError with a sentence."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, amount = part.strip().partition("=")
        if not _NAME.fullmatch(name):
            raise ValueError(f'"{part.strip()}" is no resource: write gpus=1,memory=16GB')
        value = sizes.byte_count(amount) if name == MEMORY else _positive(amount)
        if value is None:
            example = "memory=16GB" if name == MEMORY else f"{name}=1"
            raise ValueError(f'"{part.strip()}" has no amount of its own: write {example}')
        found[name] = value
    return found


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number <= MOST and math.isfinite(number) else None


def _number(amount: float) -> str:
    return str(int(amount)) if float(amount).is_integer() else repr(float(amount))
