"""Stock handlers are off until a worker is started with their whole paths (S-7, S-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.worker.calls import Handlers, HandlerUnavailable
from tests.stock.conftest import GRANTED, STOCK, Stock

if TYPE_CHECKING:
    from tests.fixtures.apps import App

SHOP = """
    import functools
    from pgflow_yaml import handlers
    from pgflow_yaml.handlers import commands, fail, shell
    from pgflow_yaml.handlers.commands import run_command, Command
    from pgflow_yaml.handlers.grants import Grants

    run = shell
    part = functools.partial(shell, None)
    class Tools:
        tool = staticmethod(shell)
"""


@pytest.mark.parametrize("path", GRANTED)
@pytest.mark.parametrize("short", [[], ["pgflow_yaml"], [STOCK], ["shop"], [f"{STOCK}.shel"]])
def test_a_stock_handler_is_granted_by_its_whole_path(
    app: App, path: str, short: list[str]
) -> None:
    """A shorter prefix does not grant it, nor do the other two."""
    others = [other for other in GRANTED if other != path]

    with pytest.raises(HandlerUnavailable, match=f"--allow {path}"):
        Handlers(app.folder, [*short, *others, f"{path}.x"]).get(path)

    assert Handlers(app.folder, [path]).get(path).takes_ctx
    assert Handlers(app.folder, others).get(f"{STOCK}.fail").takes_value


@pytest.mark.parametrize("path", ["shop.shell", "shop.run", "shop.part", "shop.Tools.tool"])
def test_a_module_that_imports_one_does_not_grant_it(app: App, path: str) -> None:
    """The function decides, whatever names lead to it."""
    app.write("shop.py", SHOP)

    with pytest.raises(HandlerUnavailable, match=rf"--allow {STOCK}\.shell"):
        Handlers(app.folder).get(path)


@pytest.mark.parametrize(
    "path",
    [
        f"{STOCK}.commands.run_command",
        f"{STOCK}.commands.subprocess.Popen",
        f"{STOCK}.grants.Grants",
        f"{STOCK}.grants.os.system",
        f"{STOCK}.shell.func",
        f"{STOCK}.http.x",
        f"{STOCK}.Shell",
        f"{STOCK}",
        f"{STOCK}.TYPE_CHECKING",
        "shop.commands.run_command",
        "shop.handlers.shell",
        "shop.run_command",
        "shop.Command",
        "shop.Command.read",
        "shop.Grants",
    ],
)
def test_the_insides_of_stock_handlers_are_never_handlers(app: App, path: str) -> None:
    """Not even on a worker that may call all of them."""
    app.write("shop.py", SHOP)

    with pytest.raises(HandlerUnavailable):
        Handlers(app.folder, [*GRANTED, STOCK]).get(path)


def test_a_mistyped_stock_handler_is_named(app: App) -> None:
    """There are four."""
    with pytest.raises(HandlerUnavailable, match=f'did you mean "{STOCK}.shell"'):
        Handlers(app.folder).get(f"{STOCK}.shel")


def test_a_project_may_forbid_what_its_worker_allows(app: App) -> None:
    """The setting `handlers` counts for them as well."""
    with pytest.raises(HandlerUnavailable, match="setting `handlers`"):
        Handlers(app.folder, GRANTED, ["shop"]).get(GRANTED[0])


@pytest.mark.parametrize("name", ["grants", "ctx"])
def test_a_step_cannot_grant_itself_anything(stock: Stock, name: str) -> None:
    """What the worker grants is no key of `with`."""
    with pytest.raises(TypeError):
        stock.call("shell", command=["true"], **{name: {"folder": "/", "environ": {}}})
