"""Handlers of the census: list a package's modules, analyse each one, write a report.

The package is found and read, never imported: none of its code runs.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator

BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
"""Each of these adds one path through a function."""

BLANK = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(TypedDict):
    """A module and where its source is."""

    name: str
    file: str


class Modules(TypedDict):
    """The modules of a package, by name."""

    package: str
    modules: list[Module]


class Ranked(TypedDict):
    """A function and the number it is ranked by."""

    name: str
    count: int


class Facts(TypedDict):
    """Counts of one module."""

    name: str
    lines: int
    code: int
    comments: int
    classes: int
    functions: int
    documented: int
    paths: int
    longest: Ranked | None
    hardest: Ranked | None


class Totals(TypedDict):
    """The sums over all modules."""

    modules: int
    lines: int
    code: int
    comments: int
    classes: int
    functions: int
    documented: int
    paths: int


class Rankings(TypedDict):
    """The largest modules, the longest functions, those with the most paths."""

    modules: list[Ranked]
    longest: list[Ranked]
    hardest: list[Ranked]


class Report(TypedDict):
    """The written report and its lines."""

    file: str
    lines: list[str]


def list_modules(package: str) -> Modules:
    """Return the modules of an installed package, by name, with their source files."""
    root = _root(package)
    files = sorted(root.rglob("*.py"))
    modules: list[Module] = [
        {"name": _module_name(package, file.relative_to(root)), "file": str(file)} for file in files
    ]
    return {"package": package, "modules": sorted(modules, key=lambda module: module["name"])}


def analyse(name: str, file: str) -> Facts:
    """Parse one module and count its parts."""
    source = Path(file).read_bytes()
    tree = ast.parse(source, filename=file)
    functions = list(_functions(tree, name))  # a name may occur twice: overloads, properties
    lengths: list[Ranked] = [{"name": title, "count": _length(f)} for title, f in functions]
    paths: list[Ranked] = [{"name": title, "count": _paths(f)} for title, f in functions]
    code, comments = _lines(source)
    return {
        "name": name,
        "lines": source.count(b"\n"),
        "code": code,
        "comments": comments,
        "classes": sum(isinstance(node, ast.ClassDef) for node in ast.walk(tree)),
        "functions": len(functions),
        "documented": sum(ast.get_docstring(node) is not None for _, node in functions),
        "paths": sum(entry["count"] for entry in paths),
        "longest": next(iter(_ranked(lengths)), None),
        "hardest": next(iter(_ranked(paths)), None),
    }


def totals(modules: list[Facts]) -> Totals:
    """Add the modules' counts up."""
    return {
        "modules": len(modules),
        "lines": sum(module["lines"] for module in modules),
        "code": sum(module["code"] for module in modules),
        "comments": sum(module["comments"] for module in modules),
        "classes": sum(module["classes"] for module in modules),
        "functions": sum(module["functions"] for module in modules),
        "documented": sum(module["documented"] for module in modules),
        "paths": sum(module["paths"] for module in modules),
    }


def rankings(modules: list[Facts], top: int) -> Rankings:
    """Return the `top` largest modules, longest functions, and functions with most paths."""
    sizes: list[Ranked] = [{"name": m["name"], "count": m["lines"]} for m in modules]
    longest = [module["longest"] for module in modules if module["longest"] is not None]
    hardest = [module["hardest"] for module in modules if module["hardest"] is not None]
    return {
        "modules": _ranked(sizes)[:top],
        "longest": _ranked(longest)[:top],
        "hardest": _ranked(hardest)[:top],
    }


def report(title: str, totals: Totals, rankings: Rankings, file: str) -> Report:
    """Write the report as Markdown; the same input writes the same file."""
    lines = _markdown(title, totals, rankings)
    target = Path(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    unfinished.write_text("\n".join([*lines, ""]), encoding="utf-8")
    unfinished.replace(target)
    return {"file": str(target), "lines": lines}


def _root(package: str) -> Path:
    """Return the folder of a top-level package; to look up others would import code."""
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    if not folders:
        raise ModuleNotFoundError(f'"{package}" is not an installed package with modules')
    return Path(folders[0])


def _module_name(package: str, file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))


def _lines(source: bytes) -> tuple[int, int]:
    """Return the numbers of lines with code and of lines with a comment."""
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in BLANK and token.type != tokenize.ENCODING:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code), len(comments)


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    """Yield every function under a node, nested ones included, with its dotted name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}.{child.name}", child
            yield from _functions(child, f"{prefix}.{child.name}")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}.{child.name}")
        else:
            yield from _functions(child, prefix)


def _length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _paths(node: Function) -> int:
    """Return one plus one per branch and per `and` or `or`: roughly McCabe's number."""
    inside = list(ast.walk(node))
    branches = sum(isinstance(child, BRANCHES) for child in inside)
    return 1 + branches + sum(len(n.values) - 1 for n in inside if isinstance(n, ast.BoolOp))


def _ranked(entries: list[Ranked]) -> list[Ranked]:
    return sorted(entries, key=lambda entry: (-entry["count"], entry["name"]))


def _markdown(title: str, totals: Totals, rankings: Rankings) -> list[str]:
    share = totals["documented"] / max(totals["functions"], 1)
    sums = (
        f"{totals['lines']:,} lines, {totals['code']:,} with code, {totals['comments']:,} with "
        f"comments; {totals['classes']:,} classes; {totals['functions']:,} functions, "
        f"{share:.0%} of them documented."
    )
    lines = [f"# {title}", "", sums]
    lines += _table("Largest modules", "lines", rankings["modules"])
    lines += _table("Longest functions", "lines", rankings["longest"])
    lines += _table("Functions with the most paths", "paths", rankings["hardest"])
    return lines


def _table(heading: str, unit: str, entries: list[Ranked]) -> list[str]:
    rows = [f"| `{entry['name']}` | {entry['count']:,} |" for entry in entries]
    return ["", f"## {heading}", "", f"| name | {unit} |", "|---|---:|", *rows]
