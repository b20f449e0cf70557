"""The files that a page lets its reader write: whole ones, and changes of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.docs.fenced import Block

NAMED = re.compile(r"# (\S+\.\w+)\n")


def file_name(block: Block) -> str | None:
    """The name with which a block begins, if it is a file."""
    match = NAMED.match(block.text)
    return match[1] if match else None


def write(files: dict[str, str], block: Block) -> str | None:
    """Do to the files what a block says; return the name of the file that it is about."""
    if block.language == "diff":
        return change(files, block)
    name = file_name(block)
    if name is not None:
        files[name] = block.text
    return name


def change(files: dict[str, str], block: Block) -> str:
    """Replace what a block shows without its `+` lines by what it shows without its `-` lines."""
    lines = block.text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    found = [name for name, text in files.items() if text.count(before) == 1]
    assert len(found) == 1, f"{block.place}: its lines stand once in one file, not in {found}"
    files[found[0]] = files[found[0]].replace(before, after)
    return found[0]
