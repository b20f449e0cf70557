"""The dotted paths that no worker ever calls, whatever files it has: decided by their words."""

from __future__ import annotations

import sys

OWN, STOCK = "pgflow_yaml", "pgflow_yaml.handlers"


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
        return never_module(".".join(parts[:2]))
    return None


def never_module(name: str) -> str | None:
    """Return the reason if a module is one of this package's own (S-7); no option allows them."""
    if not name.startswith(f"{OWN}.") or f"{name}.".startswith(f"{STOCK}."):
        return None
    return f'"{name}" is of pgflow-yaml itself: its handlers are below "{STOCK}"'


def advice(path: str) -> str:
    """Return what to do about such a path."""
    module = path.partition(".")[0]
    if module in sys.stdlib_module_names:
        return f"call it in a function of your own; if {module}.py is your module, rename it"
    return "name a function of your own module"
