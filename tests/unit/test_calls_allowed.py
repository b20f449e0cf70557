"""The dotted paths that may be handlers (S-7, S-8, S-9)."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.worker.calls import Handlers, HandlerUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.apps import App

SHOP = """
    import os, subprocess
    import functools
    from os import system
    from shutil import rmtree
    from json import loads
    from psycopg import connect

    def charge(order): return order
    class Till:
        def __call__(self, order): return [order]
        def count(self, order): return 1
        @staticmethod
        def fixed(order): return 2
        def _hidden(self, order): return 3
    till = Till()
    class Plain:
        inner = Till
    def wrapped_charge(order): return order
    wrapper = functools.partial(charge)
    danger = functools.partial(os.system)
    number = 7
    env = os.environ
    def rows(order): yield order
    async def many(order): yield order
    class Rows:
        def __call__(self, order): yield order
    class Picky:
        def __init__(self, needed): ...
        def __call__(self, order): ...
"""

DENIED_EVERYWHERE = [
    "os.system",
    "os.path.join",
    "os.environ.clear",
    "posix.system",
    "nt.system",
    "subprocess.run",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.exec",
    "builtins.print",
    "builtins.__import__",
    "sys.exit",
    "sys.modules.clear",
    "shutil.rmtree",
    "pathlib.Path",
    "pathlib.Path.unlink",
    "importlib.import_module",
    "runpy.run_path",
    "pickle.loads",
    "marshal.loads",
    "ctypes.CDLL",
    "ctypes.string_at",
    "code.interact",
    "pty.spawn",
    "socket.socket",
    "urllib.request.urlopen",
    "http.client.HTTPConnection",
    "tempfile.mktemp",
    "threading.Thread",
    "multiprocessing.Process",
    "asyncio.run",
    "logging.shutdown",
    "json.loads",
    "io.open",
    "_io.open",
    "_posixsubprocess.fork_exec",
    "gc.get_objects",
    "inspect.getsource",
    "types.FunctionType",
    "operator.methodcaller",
    "functools.partial",
    "webbrowser.open",
    "antigravity.geohash",
    "this.s",
    "psycopg.connect",
    "psycopg.Connection.connect",
    "yaml.unsafe_load",
    "yaml.load",
    "click.launch",
    "rich.print",
    "pip.main",
    "pytest.main",
    "setuptools.setup",
    "pgflow_yaml.database.store.Store",
    "pgflow_yaml.database.migrate.apply",
    "pgflow_yaml.database.embedded.server.discard",
    "pgflow_yaml.worker.failpoints.failpoint",
    "pgflow_yaml.worker.calls.invoke",
    "pgflow_yaml.cli.main",
    "pgflow_yaml.Client",
    "pgflow_yaml.handlers.PermanentError",
    "__main__.main",
    "shop.__dict__",
    "shop.__builtins__",
    "shop.__loader__.load_module",
    "shop.charge.__globals__",
    "shop.charge.__code__",
    "shop.charge.__call__",
    "shop.charge.__class__",
    "shop.Till.__init__",
    "shop.Till.__subclasses__",
    "shop.Till.count.__globals__",
    "shop.os.system",
    "shop.os",
    "shop.subprocess",
    "shop.subprocess.run",
    "shop.system",
    "shop.rmtree",
    "shop.loads",
    "shop.connect",
    "shop.danger",
    "shop.env.clear",
    "shop.env.get",
    "shop.number",
    "shop.number.bit_length",
    "shop.Plain",
    "shop.Plain.inner.count",
    "shop.Picky",
    "shop.rows",
    "shop.many",
    "shop.Rows",
    "shop.nothing",
    "shop",
    "",
    ".",
    "shop.",
    ".charge",
    "shop..charge",
    "shop charge",
    "shop.charge()",
    "shop/charge",
    "../shop.charge",
    "shop.charge;os",
    "shop.\x00charge",
    "lambda.charge",
    "nowhere.charge",
    "nowhere.at.all.charge",
]


@pytest.mark.parametrize("path", DENIED_EVERYWHERE)
def test_a_path_outside_of_the_app_dir_is_refused(app: App, path: str) -> None:
    """Only functions that modules below the app dir define are handlers."""
    app.write("shop.py", SHOP)

    with pytest.raises(HandlerUnavailable) as refused:
        Handlers(app.folder).get(path)

    assert refused.value.path == path
    assert "\n" not in refused.value.reason


@pytest.mark.parametrize(
    "path",
    ["shop.charge", "shop.till", "shop.Till", "shop.Till.count", "shop.Till.fixed",
     "shop.till.count", "shop.wrapper"],
)  # fmt: skip
def test_a_callable_of_the_app_dir_is_a_handler(app: App, path: str) -> None:
    """Functions, callable objects and classes, methods, and partials are handlers."""
    app.write("shop.py", SHOP)

    handler = Handlers(app.folder).get(path)

    assert callable(handler.function)
    assert handler.takes_value


def test_the_stock_handler_is_allowed_everywhere(app: App) -> None:
    """`pgflow_yaml.handlers.fail` needs no option."""
    assert Handlers(app.folder).get("pgflow_yaml.handlers.fail").takes_value


@pytest.mark.parametrize("allow", [[], ["pgflow_yaml"], ["pgflow_yaml.database.embedded.server"]])
@pytest.mark.parametrize(
    "path",
    [
        "pgflow_yaml.database.embedded.server.start",
        "pgflow_yaml.database.embedded.server.nothing",
        "pgflow_yaml.Client",
        "shop.go",
    ],
)
def test_the_inside_of_this_package_is_refused_and_not_offered(
    app: App, path: str, allow: list[str]
) -> None:
    """No `--allow` makes our own functions handlers, so none is proposed either."""
    app.write("shop.py", "from pgflow_yaml.database.embedded.server import open_server as go\n")

    with pytest.raises(HandlerUnavailable, match="is of pgflow-yaml itself") as refused:
        Handlers(app.folder, allow).get(path)

    assert "--allow" not in refused.value.reason
    assert Handlers(app.folder, allow).get("pgflow_yaml.handlers.fail").takes_value


def test_a_denied_module_is_never_imported(app: App, tmp_path: Path) -> None:
    """The decision falls before the import: a denied path has no side effect."""
    mark = tmp_path / "mark"
    elsewhere = tmp_path / "elsewhere"
    outside = app_at(elsewhere)
    outside.write("stranger/__init__.py", f"open({str(mark)!r}, 'w')\n")
    outside.write("stranger/inner.py", "def go(x): return x\n")
    sys.path.append(str(elsewhere))

    with pytest.raises(HandlerUnavailable, match="--allow stranger"):
        Handlers(app.folder).get("stranger.inner.go")

    assert not mark.exists()
    assert "stranger" not in sys.modules


@pytest.mark.parametrize("path", ["shop.Maker", "shop.Maker.go"])
def test_a_class_from_a_denied_module_is_never_made(app: App, tmp_path: Path, path: str) -> None:
    """That a permitted module imported it does not make it a handler, nor run its `__init__`."""
    mark = tmp_path / "mark"
    outside = app_at(tmp_path / "elsewhere")
    outside.write(
        "stranger.py",
        f"""
        class Maker:
            def __init__(self): open({str(mark)!r}, "w")
            def __call__(self, x): return x
            def go(self, x): return x
        """,
    )
    sys.path.append(str(outside.folder))
    app.write("shop.py", "from stranger import Maker\n")

    with pytest.raises(HandlerUnavailable, match="outside of the app dir"):
        Handlers(app.folder).get(path)

    assert not mark.exists()


def test_a_prefix_allows_exactly_what_lies_below_it(app: App, tmp_path: Path) -> None:
    """`--allow stranger.inner` allows that module, not its siblings nor `stranger.innermost`."""
    outside = app_at(tmp_path / "elsewhere")
    for name in ("inner", "innermost", "other"):
        outside.write(f"stranger/{name}.py", "def go(x): return x\n")
    outside.write("stranger/__init__.py", "def go(x): return x\n")
    sys.path.append(str(outside.folder))

    handlers = Handlers(app.folder, ["stranger.inner"])

    assert handlers.get("stranger.inner.go").takes_value
    for path in ("stranger.other.go", "stranger.innermost.go", "stranger.go"):
        with pytest.raises(HandlerUnavailable):
            handlers.get(path)


def test_the_standard_library_cannot_be_allowed(app: App) -> None:
    """No prefix makes `os.system` a handler."""
    with pytest.raises(HandlerUnavailable, match="standard library"):
        Handlers(app.folder, ["os", "os.system"]).get("os.system")


def test_site_packages_inside_the_app_dir_are_outside(app: App) -> None:
    """A virtual environment in the project does not make its packages handlers."""
    app.write(".venv/lib/python3.11/site-packages/thirdparty.py", "def go(x): return x\n")
    sys.path.append(str(app.folder / ".venv/lib/python3.11/site-packages"))

    with pytest.raises(HandlerUnavailable, match="outside of the app dir"):
        Handlers(app.folder).get("thirdparty.go")


def test_a_link_out_of_the_app_dir_is_outside(app: App, tmp_path: Path) -> None:
    """The real location of the file decides."""
    outside = app_at(tmp_path / "elsewhere")
    outside.write("lent.py", "def go(x): return x\n")
    (app.folder / "lent.py").symlink_to(outside.folder / "lent.py")

    with pytest.raises(HandlerUnavailable, match="outside of the app dir"):
        Handlers(app.folder).get("lent.go")


def test_folders_without_init_are_packages(app: App) -> None:
    """`workflows/census/handlers.py` is `workflows.census.handlers`."""
    app.write("flows_here/census/handlers.py", "def count(x): return x\n")

    handler = Handlers(app.folder).get("flows_here.census.handlers.count")

    assert handler.function("a") == "a"


def test_the_app_dir_comes_last_on_the_path(app: App) -> None:
    """A file named like a library module replaces nothing (S-9)."""
    app.write("colorsys.py", "raise SystemExit('hostile')\n")

    Handlers(app.folder)

    assert sys.path[-1] == str(app.folder.resolve())
    import colorsys

    assert not str(colorsys.__file__).startswith(str(app.folder))


def test_a_module_that_breaks_is_named_with_its_error(app: App) -> None:
    """An import that raises, even SystemExit, makes the handler unavailable, no more (F21)."""
    app.write("broken.py", "import sys\nsys.exit('no licence')\n")

    with pytest.raises(
        HandlerUnavailable, match=r"importing broken failed: SystemExit: no licence"
    ):
        Handlers(app.folder).get("broken.go")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyboardInterrupt", "importing odd failed: KeyboardInterrupt\n"),
        ("raise GeneratorExit('x')", "importing odd failed: GeneratorExit: x"),
        ("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E", "importing odd"),
        ("def __getattr__(n): raise RuntimeError('boom')", "RuntimeError: boom"),
        ("def __getattr__(n): raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class go:\n    def __init__(self): raise KeyboardInterrupt\n    def __call__(self): ...",
         "cannot be made without arguments: KeyboardInterrupt"),
        ("class C:\n    def __getattr__(s, n): raise SystemExit(n)\ngo = C()", "cannot be called"),
        ("class C:\n    def __getattr__(s, n): raise SystemExit(n)\n    __call__ = 1\ngo = C()",
         "SystemExit: __self__"),
        ("class M(type):\n    def __dir__(self): raise SystemExit\nclass go(metaclass=M): ...",
         'class "go" has no method __call__'),
    ],
)  # fmt: skip
def test_any_exception_of_a_lookup_is_a_refusal(app: App, body: str, reason: str) -> None:
    """No exception of any kind leaves but the refusal, which says what happened (R-6, F21)."""
    app.write("odd.py", body + "\n")

    with pytest.raises(HandlerUnavailable) as refused:
        Handlers(app.folder).get("odd.go")

    assert reason in f"{refused.value.reason}\n"


def test_a_module_that_hangs_holds_up_no_other(app: App) -> None:
    """Each module is imported under a lock of its own, and once."""
    app.write(
        "slow.py",
        """
        import gate
        gate.entered.set()
        gate.open.wait(20)
        class go:
            def __call__(self, x): return x
        """,
    )
    app.write("gate.py", "import threading\nentered, open = threading.Event(), threading.Event()\n")
    app.write("quick.py", "def go(x): return x\n")
    handlers = Handlers(app.folder)
    import gate  # type: ignore[import-not-found]

    with ThreadPoolExecutor(3) as threads:
        slow = [threads.submit(handlers.get, "slow.go") for _ in range(2)]
        assert gate.entered.wait(10)

        quick = threads.submit(handlers.get, "quick.go").result(10)

        assert not any(call.done() for call in slow)
        gate.open.set()
        assert slow[0].result(10) is slow[1].result(10)
    assert quick.takes_value


def test_a_handler_that_comes_later_is_found(app: App) -> None:
    """A refusal is not remembered: the file may be deployed while the worker runs."""
    handlers = Handlers(app.folder)
    with pytest.raises(HandlerUnavailable):
        handlers.get("later.go")

    app.write("later.py", "def go(x): return x\n")

    assert handlers.get("later.go").takes_value


def test_a_misspelt_function_is_answered_with_the_nearest(app: App) -> None:
    """The message suggests the nearest name."""
    app.write("shop.py", SHOP)

    with pytest.raises(HandlerUnavailable, match='did you mean "charge"'):
        Handlers(app.folder).get("shop.chrage")


def app_at(folder: Path) -> App:
    """An app in another folder."""
    from tests.fixtures.apps import App

    folder.mkdir(exist_ok=True)
    return App(folder)


def test_handlers_may_be_narrowed_to_some_paths(app: App) -> None:
    """Below a package, in a module, or one function; what only begins alike is another path."""
    app.write("shop/flows.py", "def go(): ...\ndef other(): ...")
    app.write("shop/tools.py", "def go(): ...")
    app.write("shop/flows_old.py", "raise SystemExit('imported')")

    for only in (["shop.flows"], ["shop.flows.go"], ["else.where", "shop"]):
        assert Handlers(app.folder, (), only).get("shop.flows.go").path == "shop.flows.go"
    for only, path in (
        (["shop.flows"], "shop.tools.go"),
        (["shop.flows"], "shop.flows_old.go"),
        (["shop.flows.go"], "shop.flows.other"),
        (["shop"], "pgflow_yaml.handlers.fail"),
    ):
        with pytest.raises(HandlerUnavailable, match=f"allows only those below {only[0]}"):
            Handlers(app.folder, (), only).get(path)
