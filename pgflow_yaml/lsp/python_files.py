"""Functions of handler paths, found in Python files without importing them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_MOST_HOPS = 5
"""The longest chain of modules that import a function from each other."""
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """Function of a Python file; `line` and `column` count from 0, in code points."""

    file: Path
    line: int
    column: int
    name: str
    signature: str
    docstring: str
    parameters: tuple[str, ...]
    """The parameters that `with` can give: `ctx` and `tx` come from the worker."""


def find_function(path: str, roots: Sequence[Path]) -> Function | None:
    """Return the function that a dotted path names below the folders, or None."""
    return _find(path.split("."), roots, _MOST_HOPS)


def handler_paths(written: str, roots: Iterable[Path]) -> list[str]:
    """Return the paths that complete a written one: modules at first, then what is in them."""
    module = written.rpartition(".")[0]
    found: dict[str, None] = {}
    for root in roots:
        folder = root.joinpath(*module.split(".")) if module else root
        prefix = f"{module}." if module else ""
        found |= dict.fromkeys(prefix + name for name in _modules(folder))
        file = _module_file(module, root) if module else None
        if file is not None:
            found |= dict.fromkeys(prefix + name for name in _public(_tree(file)))
    return sorted(found)


def _find(parts: Sequence[str], roots: Sequence[Path], hops: int) -> Function | None:
    for root in roots:
        for length in range(len(parts) - 1, 0, -1):
            file = _module_file(".".join(parts[:length]), root)
            if file is None:
                continue
            found = _in_module(file, (parts[:length], parts[length:]), roots, hops)
            if found is not None:
                return found
    return None


def _in_module(
    file: Path, parts: tuple[Sequence[str], Sequence[str]], roots: Sequence[Path], hops: int
) -> Function | None:
    """Return a function of a file, or of the one that it imports it from.

    `parts` are the module of the file and the names below it.
    """
    module, names = parts
    tree = _tree(file)
    body: Sequence[ast.stmt] = tree.body if tree else ()
    for name in names[:-1]:
        owner = next((n for n in body if isinstance(n, ast.ClassDef) and n.name == name), None)
        body = owner.body if owner else ()
    for node in body:
        if isinstance(node, _Function) and node.name == names[-1]:
            return _described(node, file)
    for node in body if hops else ():
        if isinstance(node, ast.ImportFrom):
            again = next((a for a in node.names if (a.asname or a.name) == names[0]), None)
            if again is not None:
                origin = _origin(node, file, module)
                return _find([*origin, again.name, *names[1:]], roots, hops - 1)
    return None


def _origin(node: ast.ImportFrom, file: Path, module: Sequence[str]) -> list[str]:
    """Return the module that a `from … import` names, in full."""
    named = node.module.split(".") if node.module else []
    if not node.level:
        return named
    package = list(module) if file.name == "__init__.py" else list(module[:-1])
    return package[: len(package) - node.level + 1] + named


def _described(node: _Function, file: Path) -> Function:
    keyword = {ast.AsyncFunctionDef: "async def", ast.FunctionDef: "def"}.get(type(node), "class")
    signature = f"{keyword} {node.name}"
    parameters: list[str] = []
    if not isinstance(node, ast.ClassDef):
        only_named = [each for each in node.args.kwonlyargs if each.arg != "tx"]
        every = [*node.args.posonlyargs, *node.args.args, *only_named]
        parameters = [each.arg for each in every if each.arg not in ("ctx", "self")]
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        signature += f"({ast.unparse(node.args)}){returns}"
    line = node.lineno - 1
    text = file.read_text(encoding="utf-8", errors="replace").splitlines()[line]
    return Function(
        file=file,
        line=line,
        column=max(text.find(node.name, node.col_offset), 0),
        name=node.name,
        signature=signature,
        docstring=ast.get_docstring(node) or "",
        parameters=tuple(parameters),
    )


def _module_file(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for file in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _tree(file: Path) -> ast.Module | None:
    """Return the tree of a Python file, or None: it may be half typed."""
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _public(tree: ast.Module | None) -> Iterator[str]:
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            yield node.name


def _modules(folder: Path) -> Iterator[str]:
    """Yield the modules and packages of a folder."""
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError:
        return
    for entry in entries:
        name = entry.stem if entry.suffix == ".py" else entry.name
        if not name.isidentifier() or name.startswith("_") or name == "conftest":
            continue
        if entry.suffix == ".py" or next(entry.glob("*.py"), None) is not None:
            yield name
