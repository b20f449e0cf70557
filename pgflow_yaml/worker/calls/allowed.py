"""The dotted paths that may be handlers, decided by their files before anything is imported.

S-7: modules whose file lies under the app dir, or below a prefix that the worker was started with;
never the standard library. S-8: no data of the database takes part in the decision.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import sysconfig
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from pgflow_yaml.language.handler_paths import GUARDED, STOCK, advice, never, never_module

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable, Sequence

_LIBRARY_FOLDERS = frozenset({"site-packages", "dist-packages"})


class NotAllowed(Exception):
    """The path is not a handler here; the message gives the reason, `fix` what to do.

    `hidden` says that a module of the app dir is meant, and another one is found.
    """

    def __init__(self, reason: str, *, fix: str | None = None, hidden: bool = False) -> None:
        self.fix = fix
        self.hidden = hidden
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerLocation:
    """A module that may be imported, its file, and the names to follow inside it."""

    module: str
    file: str
    names: tuple[str, ...]


class AllowList:
    """The modules that may hold handlers."""

    def __init__(
        self, app_dir: Path, prefixes: Iterable[str] = (), only: Iterable[str] = ()
    ) -> None:
        """`prefixes` allow modules outside of the app dir; `only` forbids all paths elsewhere."""
        self.app_dir = os.path.realpath(app_dir)
        self._prefixes = tuple(prefixes)
        self._only = tuple(only)

    def extend_path(self) -> None:
        """Make the app dir importable, after everything else (S-9)."""
        if self.app_dir not in map(os.path.realpath, sys.path):
            sys.path.append(self.app_dir)

    def locate(self, path: str) -> HandlerLocation:
        """Find the module of a dotted path without importing any; raise NotAllowed."""
        if (reason := never(path)) is not None:
            raise NotAllowed(reason, fix=advice(path))
        self._check_grant(path)
        parts = path.split(".")
        if self._only and not any(f"{path}.".startswith(f"{prefix}.") for prefix in self._only):
            raise NotAllowed(
                f"the setting `handlers` of this project allows only those below "
                f"{', '.join(self._only)}"
            )
        name, spec = self._last_module(parts)
        if spec.origin is None or not spec.has_location:
            raise NotAllowed(f'there is no module "{name}.{parts[name.count(".") + 1]}"')
        names = tuple(parts[name.count(".") + 1 :])
        if len(names) > 2:
            raise NotAllowed(
                f'"{".".join(names)}" goes too deep into module "{name}": '
                "a handler is MODULE.FUNCTION or MODULE.CLASS.METHOD"
            )
        return HandlerLocation(module=name, file=os.path.realpath(spec.origin), names=names)

    def confirm(self, location: HandlerLocation, module: types.ModuleType) -> None:
        """Refuse a module that was imported from another file than the one located."""
        origin = module.__spec__.origin if module.__spec__ else None
        if origin is None or os.path.realpath(origin) != location.file:
            raise NotAllowed(
                f'"{location.module}" was imported from {origin}, not from {location.file}'
            )

    def check_defined_in(self, module: str | None, name: str) -> None:
        """Refuse a function that a permitted module imported from one that is not permitted."""
        self._check_grant(f"{module}.{name}")
        root = (module or "builtins").partition(".")[0]
        if root in sys.stdlib_module_names:
            raise NotAllowed(f'it is defined in "{root}": the standard library is never a handler')
        loaded = sys.modules.get(module or "")
        spec = loaded.__spec__ if loaded else None
        if module and spec and spec.origin:
            self._check(module, spec)

    def _check_grant(self, path: str) -> None:
        """Refuse a stock handler that the worker was not started with; no shorter prefix counts."""
        if path in GUARDED and path not in self._prefixes:
            raise NotAllowed(
                f"it is off: only `--allow {path}` lets a worker, `run` or `test` call it"
            )

    def _last_module(self, parts: Sequence[str]) -> tuple[str, ModuleSpec]:
        """Return the longest prefix of the path that is a module; check every file on the way."""
        name = ""
        last: ModuleSpec | None = None
        search: Sequence[str] = [*sys.path, self.app_dir]
        for part in parts[:-1]:
            deeper = f"{name}.{part}" if name else part
            spec = _find(deeper, search)
            if spec is None:
                break
            self._check(deeper, spec)
            name, last = deeper, spec
            if spec.submodule_search_locations is None:
                break
            search = list(spec.submodule_search_locations)
        if last is None:
            raise NotAllowed(f'there is no module "{parts[0]}" in {self.app_dir} or installed')
        if not self._permits(name, last):
            raise NotAllowed(f'"{name}" is not below {", ".join(self._prefixes)}')
        return name, last

    def _check(self, name: str, spec: ModuleSpec) -> None:
        """Raise unless this module may be imported on the way to a handler."""
        if (reason := never_module(name)) is not None:
            raise NotAllowed(reason)
        leads_on = any(f"{prefix}.".startswith(f"{name}.") for prefix in (*self._prefixes, STOCK))
        if leads_on or self._permits(name, spec):
            return
        origin = spec.origin or "a package without a file"
        hidden = self._hidden_file(name, origin)
        if hidden is not None:
            raise NotAllowed(
                f'module "{name}" is {origin}, which hides {hidden} of the app dir {self.app_dir}',
                fix=f"rename {hidden}; to mean the installed one, set "
                f'`allow = ["{name}"]` in [tool.pgflow-yaml] of pyproject.toml',
                hidden=True,
            )
        raise NotAllowed(
            f'module "{name}" is {origin}, outside of the app dir {self.app_dir}: '
            f"only `--allow {name}` lets it hold handlers"
        )

    def _hidden_file(self, name: str, found: str) -> str | None:
        """Return the file of the app dir that a module of this name elsewhere hides, or None."""
        folder = Path(self.app_dir)
        places = (folder / f"{name}.py", folder / name / "__init__.py")
        hidden = (file for file in places if file.is_file() and str(file) != found)
        if (file := next(hidden, None)) is not None:
            return str(file.relative_to(folder))
        # A folder of modules needs no `__init__.py`, but then any other package hides it.
        return f"{name}/" if any((folder / name).glob("*.py")) else None

    def _permits(self, name: str, spec: ModuleSpec) -> bool:
        if any(f"{name}.".startswith(f"{prefix}.") for prefix in (*self._prefixes, STOCK)):
            return True
        if spec.origin is None:  # a namespace package: folders without code of their own
            return True
        return spec.has_location and self._holds(spec.origin)

    def _holds(self, file: str) -> bool:
        real = os.path.realpath(file)
        if not real.startswith(self.app_dir.rstrip(os.sep) + os.sep):
            return False
        inside = Path(os.path.relpath(real, self.app_dir)).parts
        return not _LIBRARY_FOLDERS.intersection(inside) and not _of_python(real)


def _find(name: str, search: Sequence[str]) -> ModuleSpec | None:
    """Find a module as `import` would, but without importing its parents."""
    if (loaded := sys.modules.get(name)) is not None:
        return loaded.__spec__ or ModuleSpec(name, None, origin=None)
    portions: list[str] = []
    for entry in search:
        finder = pkgutil.get_importer(entry or os.curdir)
        spec = finder.find_spec(name) if finder is not None else None
        if spec is not None and spec.loader is not None:
            return spec
        portions.extend((spec and spec.submodule_search_locations) or ())
    if "." not in name and (spec := _installed_elsewhere(name)) is not None:
        return spec
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _installed_elsewhere(name: str) -> ModuleSpec | None:
    """Find a package that an installer made importable by its own finder (`pip install -e`)."""
    for finder in sys.meta_path:
        if finder in (BuiltinImporter, FrozenImporter, PathFinder):
            continue
        spec = finder.find_spec(name, None)
        if spec is not None and spec.loader is not None:
            return spec
    return None


def _of_python(file: str) -> bool:
    folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return any(file.startswith(os.path.realpath(folder) + os.sep) for folder in folders if folder)
