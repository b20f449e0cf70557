"""The engines by their addresses: `dask://HOST:PORT`, `ray:auto`, `python:MODULE.FUNCTION`."""

from __future__ import annotations

import importlib
import re
import sys
from typing import TYPE_CHECKING

from pgflow_yaml.errors import Unavailable, WrongSetting
from pgflow_yaml.worker.calls import summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgflow_yaml.worker.engines.engine import Engine


def engine_of(address: str, app_dir: Path) -> Engine:
    """Return the engine of an address; connect to nothing yet.

    Raise WrongSetting for an address that names none, Unavailable if its extra is not installed.
    """
    scheme, colon, rest = address.partition(":")
    make = SCHEMES.get(scheme) if colon else None
    if make is None:
        raise WrongSetting(
            f'--executor: there is no "{address}"; write thread, process, or an engine as '
            f"{', '.join(EXAMPLES)}"
        )
    return make(address, rest, app_dir)


def _python(address: str, path: str, app_dir: Path) -> Engine:
    from pgflow_yaml.worker.engines.futures import FuturesEngine

    return FuturesEngine(address, _function(address, path, app_dir))


def _function(address: str, path: str, app_dir: Path) -> Callable[[], object]:
    """Return the function that makes an executor; its module is imported."""
    module, _, name = path.rpartition(".")
    example = "write --executor python:MODULE.FUNCTION"
    if not module or not name.isidentifier():
        raise WrongSetting(f'--executor {address}: "{path}" is no function of a module; {example}')
    if str(app_dir) not in sys.path:
        sys.path.append(str(app_dir))
    try:
        found = getattr(importlib.import_module(module), name, None)
    except BaseException as error:
        raise WrongSetting(
            f"--executor {address}: importing {module} failed: {summary(error)}"
        ) from error
    if not callable(found):
        problem = "is no function" if found is not None else "does not exist"
        raise WrongSetting(f'--executor {address}: "{name}" {problem} in {module}; {example}')
    function: Callable[[], object] = found
    return function


def need(module: str, engine: str) -> None:
    """Raise Unavailable unless the package of an engine is installed."""
    try:
        importlib.import_module(module)
    except ImportError:
        raise Unavailable(
            f"--executor {engine} needs: pip install 'pgflow-yaml[{engine}]'"
        ) from None


def _dask(address: str, rest: str, _app_dir: Path) -> Engine:
    from pgflow_yaml.worker.engines.dask import DaskEngine

    if not re.fullmatch(r"//[^/]+:\d+", rest):
        raise WrongSetting(f"--executor {address}: write dask://HOST:PORT, or tls://HOST:PORT")
    return DaskEngine(address)


def _ray(address: str, rest: str, _app_dir: Path) -> Engine:
    from pgflow_yaml.worker.engines.ray import RayEngine

    if rest != "auto" and not re.fullmatch(r"[^/]+:\d+", rest):
        raise WrongSetting(f"--executor {address}: write ray:auto, or ray:HOST:PORT")
    return RayEngine(address, rest)


SCHEMES: dict[str, Callable[[str, str, Path], Engine]] = {
    "dask": _dask,
    "tls": _dask,
    "ray": _ray,
    "python": _python,
}
EXAMPLES = ("dask://HOST:PORT", "ray:auto", "python:MODULE.FUNCTION")
