"""One secret along every path that a handler has: no row, no line and no screen shows it (S-11)."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from psycopg import sql

from pgflow_yaml.worker.calls.secrets import PREFIX
from tests.acceptance.shell import Shell
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg

    from tests.fixtures.worker_process import StartCli
    from tests.fixtures.working import Works

CANARY = "kanärie-31337/Z"
TRACES = (
    "rie-3",
    "31337",
    "73313-e",
    "cmllLTM",
    "yaWUtMz",
    "JpZS0zMT",
)  # also in base64, at each offset

RETURNED = """
import asyncio, atexit, gc, html, logging, os, subprocess, sys, threading, time, traceback, warnings
from dataclasses import dataclass
from pathlib import PurePosixPath
from pgflow_yaml import PermanentError, RetryLater

@dataclass
class Card:
    token: str

RETURNS = [
    lambda t: t,
    lambda t: {"deep": [{t: {"in": f"a {t} b"}}]},
    lambda t: Card(t),
    lambda t: PurePosixPath("/home") / t,
    lambda t: (t, [t]),
    lambda t: repr(t.encode()),
    lambda t: ascii(t),
    lambda t: [repr([t]), repr({t: t})],
    lambda t: html.escape(t + '"'),
    lambda t: subprocess.run(["printf", "%s", t], capture_output=True, text=True).stdout,
]

def returns(n, token):
    return RETURNS[n](token)

def same(**given):
    return given

def dumps():
    return {name: value for name, value in os.environ.items() if "SECRET" in name}
"""
PRINTED = """
def prints(token, ctx):
    for character in token + "\\n":
        print(character, end="", flush=True)
    for byte in token.encode() + b"\\n":
        sys.stdout.buffer.write(bytes([byte]))
    sys.stderr.writelines([token[:4], token[4:], "\\n"])
    print("all of", token.upper(), [token], {token: token}, token.encode(), ascii(token))
    print(subprocess.run(["echo", token], capture_output=True).stdout)
    ctx.log.warning("%(token)s", {"token": token})
    ctx.log.info("as %r", [token])
    own = logging.getLogger("shop.payments")
    own.addHandler(logging.StreamHandler())
    own.error("own handler has %s", token)
    logging.getLogger("shop").critical("no handler has %s", token)
    warnings.warn(f"warned of {token}", stacklevel=1)
    try:
        raise KeyError(token)
    except KeyError as error:
        own.exception("logged", exc_info=error)
        traceback.print_exception(error)
    Dies(token)
    print("end of prints.")

class Dies:
    def __init__(self, token):
        self.token = token

    def __del__(self):
        raise ValueError(self.token)

async def loses(token):
    async def fail():
        raise ValueError(token)
    asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()

def leaves(token):
    atexit.register(lambda: print("at exit", token, file=sys.stderr))

def breaks():
    raise ValueError("the run ends")

def late(token, ctx):
    while ctx.heartbeat():
        time.sleep(0.02)
    for n in range(30):
        print("late", token)
        time.sleep(0.02)
"""
RAISED = """
class Loud(Exception):
    def __str__(self):
        return str(self.args)

class Mute(Exception):
    def __str__(self):
        raise ValueError(self.args[0])

def thrown(error):
    raise error

def noted(t):
    error = ValueError("noted")
    error.add_note(t)
    raise error

def chained(t):
    try:
        int(t)
    except ValueError as error:
        raise RuntimeError(f"because of {error}") from error

RAISES = [
    lambda t: thrown(RetryLater(0, f"later with {t}")),
    lambda t: thrown(ValueError("token " + t)),
    lambda t: {}[t],
    lambda t: int(t),
    lambda t: int(t.encode()),
    lambda t: open("/nowhere/" + t),
    lambda t: subprocess.run(["false", t], check=True),
    lambda t: subprocess.run(["/no/" + t]),
    lambda t: thrown(type("Odd_" + t, (Exception,), {"__module__": t, "__qualname__": t})()),
    lambda t: thrown(Loud([t], {"t": t})),
    lambda t: thrown(Mute(t)),
    lambda t: noted(t),
    lambda t: chained(t),
    lambda t: thrown(ExceptionGroup(t, [ValueError(t), ExceptionGroup(t, [KeyError(t)])])),
    lambda t: sys.exit(t),
    lambda t: thrown(ValueError("x " * 8190 + t)),
    lambda t: {t: object()},
    lambda t: type("Card_" + t, (), {})(),
    lambda t: thrown(PermanentError(t)),
    lambda t: exec(compile(f"raise ValueError({t!r})", t, "exec")),
    lambda t: threading.Thread(target=thrown, args=[ValueError(t)]).start(),
]

def raises(n, token):
    return RAISES[n](token)
"""
RETURNS, RAISES = (text.count("lambda t:") for text in (RETURNED, RAISED))
CHILD = """
flow: child
input: {given: {}}
steps:
  same: {handler: shop.same, with: {given: "${{ input.given }}"}}
"""
LATE = """
flow: late
steps:
  breaks: {handler: shop.breaks, retry: 1}
  late: {handler: shop.late, with: {token: "${{ secrets.CANARY }}"}}
"""
# $[…] stands for ${{ … }}
SHOP = f"""
flow: shop
defaults: {{retry: {{max_attempts: 2, base_delay: 0s}}}}
steps:
  returns: {{handler: shop.returns, map: "range({RETURNS})", with: {{n: "$[item]", token: $T}}}}
  prints: {{handler: shop.prints, with: {{token: $T}}}}
  dumps: {{handler: shop.dumps}}
  loses: {{handler: shop.loses, with: {{token: $T}}}}
  leaves: {{handler: shop.leaves, with: {{token: $T}}}}
  raises:
    handler: shop.raises
    map: "range({RAISES})"
    with: {{n: "$[item]", token: $T}}
    tolerate: 100
  later:
    handler: shop.raises
    with: {{n: 0, token: $T}}
    retry: {{max_attempts: 3, base_delay: 0s, if: "'***' in error.message and attempt < 2"}}
    when_exhausted: skip
  sub: {{flow: child, depends_on: [returns], with: {{given: "$[steps.returns.output]"}}}}
  each:
    handler: shop.same
    depends_on: [returns]
    map: steps.returns.output
    with: {{given: "$[item]"}}
  paid: {{wait: {{event: paid}}, depends_on: [sub]}}
  last: {{handler: shop.same, depends_on: [paid, each], with: {{paid: "$[steps.paid.output]"}}}}
  never: {{wait: {{event: never}}, depends_on: [last]}}
""".replace("$T", '"$[secrets.CANARY]"')


def whole_database(db: psycopg.Connection) -> str:
    """Every row of every table of both schemas, as text."""
    tables = db.execute(
        "select table_schema, table_name from information_schema.tables"
        " where table_schema in ('pgflow', 'pgmq')"
    ).fetchall()
    assert len(tables) > 15
    rows = [
        db.execute(sql.SQL("select t::text from {} t").format(sql.Identifier(*table))).fetchall()
        for table in tables
    ]
    return "\n".join(text for row in rows for (text,) in row)


def found(text: str) -> list[str]:
    """The lines in which a trace of the canary is."""
    lines = text.splitlines()
    return [line for line in lines if any(t in line or t in line.lower() for t in TRACES)]


def test_a_canary_is_seen_nowhere(
    works: Works, db: psycopg.Connection, start_cli: StartCli
) -> None:
    """Not in the database, on the worker's streams, nor on what the commands show."""
    works.app.write("shop.py", RETURNED + PRINTED + RAISED)
    works.deploy(CHILD)
    works.deploy(re.sub(r"\$\[(.*?)\]", r"${{ \1 }}", SHOP))
    run = works.client.start("shop").id
    env = {PREFIX + "CANARY": CANARY, PREFIX + "UNUSED": CANARY[::-1]}
    worker = start_cli("worker", "-v", dsn=works.database, cwd=works.app.folder, **env)

    def output(step: str) -> object:
        return {each.slug: each.output for each in works.client.get(run).steps}[step]

    # What others read there, they send on: as an event, as a reason.
    works.client.send(run, "paid", eventually(lambda: output("sub")))
    assert "***" in str(eventually(lambda: output("last")))
    errors = works.client.run_snapshot(run)["errors"]
    failed = {error["index"] for error in errors if error["step"] == "raises"}
    assert len(failed) == RAISES - 1  # the exception in a thread fails nothing
    works.client.cancel(run, reason=" ".join(error["message"][:40] for error in errors))
    worker.send(signal.SIGTERM)
    worker.wait()
    shell = Shell(works.app.folder, works.database, env)
    shell.write("late.yaml", LATE)
    screens = [
        shell("run", "late.yaml", "-v", expect=1),
        shell("show", run),
        shell("show", run, "--json"),
        shell("runs", "--json"),
    ]

    assert found(whole_database(db)) == []
    for said in ("at exit ***", "end of prints.", "Exception ignored in", "Exception in thread"):
        assert said in worker.stdout + worker.stderr
    assert found(worker.stdout + worker.stderr) == []
    for screen in screens:
        assert found(screen.out + screen.err) == []
    assert screens[0].err.count("late ***") > 1
