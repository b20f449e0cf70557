"""The handler of the idle worker: it says when it ran."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json


def stamp(_: Json) -> Json:
    """The monotonic clock, which all processes of a machine share."""
    return {"at": time.monotonic()}
