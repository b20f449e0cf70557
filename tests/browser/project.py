"""A project whose pages are looked at: its handlers, its flows, and the processes that serve it."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pgflow_yaml import Client, load
from tests.fixtures.roles import as_program
from tests.fixtures.waiting import eventually
from tests.fixtures.worker_process import WorkerProc

if TYPE_CHECKING:
    from pathlib import Path

HANDLERS = '''
"""What the steps of the flows call."""

import time
from pathlib import Path


def reserve(order):
    print(f"reserved {order['article']}")
    return {"article": order["article"], "shelf": 7}


def charge(amount):
    print(f"charging {amount} EUR")
    if amount > 1000:
        raise ValueError(f"card declined: {amount} EUR is over the limit")
    return {"charged": amount}


def ship(order):
    return f"parcel for {order['article']}"


def linger():
    for turn in range(6000):
        if Path("go_on").exists():
            break
        if turn % 100 == 0:
            print(f"still waiting, turn {turn}")
        time.sleep(0.1)  # a handler that works


def size(page):
    if page % 29 == 0:
        raise LookupError(f"page {page} is empty")
    return page * 1000


def quick():
    return 1


def broken():
    raise RuntimeError("disk full")
'''

ORDER = """
flow: order
description: An order, from the shelf to the parcel.
input:
  article: {type: string, default: lamp}
  amount: {type: integer, default: 40, description: in EUR}
  size: {type: string, enum: [small, large], default: small}
labels: {team: shop}
steps:
  reserve: {handler: work.reserve, with: {order: "${{ input }}"}}
  charge:
    handler: work.charge
    retry: 1
    with: {amount: "${{ input.amount }}"}
    depends_on: [reserve]
  release: {wait: {event: release}, depends_on: [charge]}
  ship: {handler: work.ship, with: {order: "${{ input }}"}, depends_on: [release]}
"""
SLOW = """
flow: slow
steps:
  before: {handler: work.quick}
  linger: {handler: work.linger, depends_on: [before]}
  after: {handler: work.quick, depends_on: [linger]}
"""
REVIEW = """
flow: review
description: A person decides.
steps:
  decide:
    wait:
      event: decide
      form:
        verdict: {type: string, enum: [good, bad], description: Is the text ready?}
        note: {type: string, default: none}
  publish: {handler: work.quick, depends_on: [decide]}
output: ${{ steps.decide.output }}
"""
CRAWL = """
flow: crawl
defaults: {retry: 1}
steps:
  fetch:
    handler: work.size
    map: range(1, 201)
    with: {page: "${{ item }}"}
    fail_fast: false
    tolerate: 10%
  sum: {handler: work.quick, depends_on: [fetch]}
schedule:
  - cron: "0 3 * * *"
"""


def wide(steps: int = 300, row: int = 12) -> str:
    """Return a flow of many steps, of which one fails."""
    lines = ["flow: wide", "defaults: {retry: 1}", "steps:"]
    for number in range(steps):
        above = [at for at in (number - row, number - row - number % 3) if at >= 0]
        needs = ", ".join(f"s{at}" for at in sorted(set(above)))
        handler = "broken" if number == steps * 2 // 3 else "quick"
        lines.append(f"  s{number}: {{handler: work.{handler}, depends_on: [{needs}]}}")
    return "\n".join(lines) + "\n"


@dataclass
class Project:
    """A folder, a database, and the programs that run there."""

    folder: Path
    database: str
    client: Client = field(init=False)
    address: str = ""
    server: WorkerProc = field(init=False)
    _started: list[WorkerProc] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write the files."""
        (self.folder / "pyproject.toml").touch()
        (self.folder / "work.py").write_text(HANDLERS, encoding="utf-8")
        self.client = Client(as_program(self.database, "start"))

    def deploy(self, text: str) -> str:
        """Deploy a flow; its name."""
        path = self.folder / "flow.yaml"
        path.write_text(text, encoding="utf-8")
        return self.client.deploy(load(path)).name

    def start(self, *arguments: str) -> WorkerProc:
        """Start a command in the folder."""
        place = self.folder / f"process-{len(self._started)}"
        place.mkdir()
        dsn = as_program(self.database, arguments[0])
        env = {"DATABASE_URL": dsn}
        process = WorkerProc(list(arguments), folder=place, cwd=self.folder, env=env)
        self._started.append(process)
        return process

    def work(self) -> WorkerProc:
        """Start a worker."""
        return self.start("worker", "--app-dir", str(self.folder))

    def serve(self, *arguments: str) -> str:
        """Start the pages, at the same port as before; the link that is announced."""
        port = str(urlsplit(self.address).port or 0)
        self.server = self.start("ui", "--port", port, *arguments)
        self.server.wait_for("http://")
        link = self.server.stdout.split()[0]
        self.address = "{0.scheme}://{0.netloc}".format(urlsplit(link))
        return link

    def ended(self, run: str) -> str:
        """The status of a run, once it has ended."""
        eventually(lambda: self.client.get(run).ended, what=f"run {run} ends")
        return self.client.get(run).status

    def close(self) -> None:
        """Stop everything."""
        for process in self._started:
            if process.running:
                process.send(signal.SIGTERM)
        for process in self._started:
            process.kill()
        self.client.close()
