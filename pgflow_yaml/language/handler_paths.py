"""The dotted paths that no worker ever calls, whatever files it has: decided by their words.

And the handlers of this package: `fail` is free, a worker must be allowed to call the others.
"""

from __future__ import annotations

import sys

from pgflow_yaml.language.suggestions import did_you_mean

OWN, STOCK = "pgflow_yaml", "pgflow_yaml.handlers"
GUARDED = frozenset(f"{STOCK}.{name}" for name in ("http", "shell", "sql"))
"""The stock handlers that a worker calls only if `--allow` names them, each by its whole path."""
_STOCK_NAMES = sorted({f"{STOCK}.fail", *GUARDED})


def never(path: str) -> str | None:
    """Return the reason why a path is a handler nowhere; None if it may be one (S-7)."""
    parts = path.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        return "a handler is a dotted path: MODULE.FUNCTION"
    if any(part.startswith("__") for part in parts):
        return "names that begin with two underscores are never handlers"
    if parts[0] in sys.stdlib_module_names:
        return f'"{parts[0]}" is of the standard library, which is never a handler'
    if parts[0] == OWN:
        return _never_own(path)
    return None


def _never_own(path: str) -> str | None:
    if path in _STOCK_NAMES:
        return None
    if not f"{path}.".startswith(f"{STOCK}."):
        return never_module(".".join(path.split(".")[:2]))
    near = did_you_mean(path, _STOCK_NAMES)
    return f"the handlers of pgflow-yaml are {', '.join(_STOCK_NAMES)}{near}"


def never_module(name: str) -> str | None:
    """Return the reason if a module is one of this package's own (S-7); no option allows them."""
    if not name.startswith(f"{OWN}.") or name == STOCK:
        return None
    return f'"{name}" is of pgflow-yaml itself: its handlers are below "{STOCK}"'


def advice(path: str) -> str:
    """Return what to do about such a path."""
    module = path.partition(".")[0]
    if module in sys.stdlib_module_names:
        return f"call it in a function of your own; if {module}.py is your module, rename it"
    return "name a function of your own module"
