"""Write the tree of an expression or template as text, for people who compare versions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgflow_yaml.language.model import Json

_LOOSEST, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _SIGN, _TIGHTEST = range(9)
_LEVELS = {
    "if": _LOOSEST,
    "or": _OR,
    "and": _AND,
    "not": _NOT,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "not in"), _COMPARE),
    **dict.fromkeys("+-", _SUM),
    **dict.fromkeys("*/%", _PRODUCT),
    "neg": _SIGN,
}


def write_expression(ast: Json) -> str:
    """Return the text of an expression tree."""
    return _write(ast, _LOOSEST)


def write_template(ast: Json) -> str:
    """Return the text of a template tree: plain JSON, with `${{ }}` around computed values."""
    node: Any = ast
    match node[0]:
        case "lit":
            return _json(node[1])
        case "text":
            return "".join(
                part[1].replace("${{", "$${{") if _is_text(part) else _computed(part)
                for part in node[1:]
            )
        case "dict":
            pairs = zip(node[1::2], node[2::2], strict=True)
            return "{" + ", ".join(f"{_json(k)}: {write_template(v)}" for k, v in pairs) + "}"
        case "list":
            return "[" + ", ".join(write_template(part) for part in node[1:]) + "]"
    return _computed(node)


def _computed(node: Json) -> str:
    return f"${{{{ {write_expression(node)} }}}}"


def _is_text(node: Any) -> bool:
    return node[0] == "lit" and isinstance(node[1], str)


def _write(node: Any, level: int) -> str:
    """Return the text of a node, in brackets where it binds less tightly than `level`."""
    own = _LEVELS.get(node[0], _TIGHTEST)
    if node[0] == "lit" and type(node[1]) in (int, float) and str(node[1]).startswith("-"):
        own = _SIGN
    text = _WRITERS[node[0]](node, own)
    return f"({text})" if own < level else text


def _literal(node: Any, _own: int) -> str:
    return _json(node[1])


def _name(node: Any, _own: int) -> str:
    return str(node[1])


def _get(node: Any, _own: int) -> str:
    holder, key = node[1], node[2]
    # Behind a path, `.key` would make a longer path.
    if holder[0] == "path" or not key.isidentifier() or not key.isascii():
        return f"{_write(holder, _TIGHTEST)}[{_json(key)}]"
    return f"{_write(holder, _TIGHTEST)}.{key}"


def _index(node: Any, _own: int) -> str:
    holder, at = node[1], node[2]
    if holder[0] == "var" and "," in holder[1] and at[0] == "lit":
        return str(holder[1].split(",")[at[1]])
    return f"{_write(holder, _TIGHTEST)}[{_write(at, _LOOSEST)}]"


def _joined(node: Any, own: int) -> str:
    return f" {node[0]} ".join(_write(part, own + 1) for part in node[1:])


def _left_first(node: Any, own: int) -> str:
    """Return `a - b - c`, which means `(a - b) - c`."""
    return f"{_write(node[1], own)} {node[0]} {_write(node[2], own + 1)}"


def _not(node: Any, own: int) -> str:
    return f"not {_write(node[1], own)}"


def _negative(node: Any, _own: int) -> str:
    return f"-{_write(node[1], _TIGHTEST)}"


def _conditional(node: Any, own: int) -> str:
    condition, chosen, other = (_write(part, own + 1) for part in node[1:])
    return f"{chosen} if {condition} else {other}"


def _list(node: Any, _own: int) -> str:
    return f"[{', '.join(_write(part, _LOOSEST) for part in node[1:])}]"


def _dict(node: Any, _own: int) -> str:
    pairs = zip(node[1::2], node[2::2], strict=True)
    return "{" + ", ".join(f"{_json(key)}: {_write(value, _LOOSEST)}" for key, value in pairs) + "}"


def _call(node: Any, _own: int) -> str:
    return f"{node[1]}({', '.join(_write(part, _LOOSEST) for part in node[2:])})"


def _for(node: Any, _own: int) -> str:
    _, body, name, source, condition = node
    test = "" if condition is None else f" if {_write(condition, _OR)}"
    names = name.replace(",", ", ")
    return f"[{_write(body, _LOOSEST)} for {names} in {_write(source, _OR)}{test}]"


def _template(node: Any, _own: int) -> str:
    return _json(write_template(node))


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


_WRITERS = {
    "lit": _literal,
    "path": _name,
    "var": _name,
    "get": _get,
    "index": _index,
    "not": _not,
    "neg": _negative,
    "if": _conditional,
    **dict.fromkeys(("or", "and", "==", "!=", "<", "<=", ">", ">=", "in", "not in"), _joined),
    **dict.fromkeys("+-*/%", _left_first),
    "list": _list,
    "dict": _dict,
    "text": _template,
    "call": _call,
    "for": _for,
}
