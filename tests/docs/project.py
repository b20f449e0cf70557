"""The files that a page lets its reader write: whole ones, and changes of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.docs.fenced import Block

NAMED = re.compile(r"# (\S+\.\w+)\n")


def file_name(block: Block) -> str | None:
    """Return the name with which a block begins, if the block is a file."""
    match = NAMED.match(block.text)
    return match[1] if match else None


def write(files: dict[str, str], block: Block) -> str | None:
    """Apply a block to the files; return the name of the changed file."""
    if block.language == "diff":
        return change(files, block)
    name = file_name(block)
    if name is not None:
        files[name] = block.text
    return name


def change(files: dict[str, str], block: Block) -> str:
    """Replace the lines of a diff without `+` by those without `-`; return the name of the file."""
    lines = block.text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    names = [name for name, text in files.items() if text.count(before) == 1]
    assert len(names) == 1, f"{block.position}: its lines occur once in one file, not in {names}"
    files[names[0]] = files[names[0]].replace(before, after)
    return names[0]
