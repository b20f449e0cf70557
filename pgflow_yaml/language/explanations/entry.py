"""What `explain` tells about one code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The meaning of one code: a title, a few sentences, and YAML that is wrong and right.

    An example that is indented stands under `steps:`, any other at the top of a flow.
    """

    title: str
    text: str = ""
    bad: str = ""
    good: str = ""
