"""Codes of findings: one Markdown file each, printed by `explain` and published in the docs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

_LAYOUT = re.compile(
    r"# (?P<code>PF\d{3}): (?P<title>[^\n]+)\n\n"
    r"(?P<text>.+?)\n\n"
    r"## Wrong\n\n```[a-z]+\n(?P<bad>.+?)```\n\n"
    r"## Right\n\n```[a-z]+\n(?P<good>.+?)```\n",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Meaning of one code: a title, the cause, and an example that is wrong and one that is right.

    Examples stand at the top of a flow file, those of PF5xx at the top of a test file.
    """

    title: str
    text: str
    bad: str
    good: str


def codes() -> list[str]:
    """Return all codes in order; reads no file."""
    names = (file.name for file in files(__name__).iterdir())
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md"))


def explanation(code: str) -> Explanation:
    """Read the file of a code; raises FileNotFoundError for an unknown one."""
    content = files(__name__).joinpath(f"{code}.md").read_text(encoding="utf-8")
    parts = _LAYOUT.fullmatch(content)
    if parts is None or parts["code"] != code:
        raise ValueError(f"{code}.md does not have the layout of an explanation")
    paragraphs = (" ".join(paragraph.split()) for paragraph in parts["text"].split("\n\n"))
    return Explanation(
        title=parts["title"],
        text="\n\n".join(paragraphs),
        bad=parts["bad"],
        good=parts["good"],
    )
