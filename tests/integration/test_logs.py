"""What handlers print and log is stored with its attempt, whatever else happens."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fixtures.working import Works

CROWD = """
import logging, sys, threading
log = logging.getLogger("crowd")
log.setLevel(logging.INFO)
together = threading.Barrier(8)
def talk(item):
    together.wait(20)
    for number in range(250):
        print(f"{item} {number} out")
        print(f"{item} {number} err", file=sys.stderr)
        log.info("%s %s log", item, number)
        sys.stdout.write(f"{item} ")
        sys.stdout.write(f"{number} parts\\n")
"""
CROWD_FLOW = """
flow: crowd
steps:
  talk: {handler: crowd.talk, map: "${{ [0, 1, 2, 3, 4, 5, 6, 7] }}"}
"""


def test_each_line_of_many_threads_has_its_attempt(works: Works) -> None:
    """8 threads x 1,000 lines at the same time: none is lost, moved, cut or doubled."""
    works.app.write("crowd.py", CROWD)
    works.deploy(CROWD_FLOW)
    run = works.client.start("crowd")

    works.drain(concurrency=8, capture=True)

    said = defaultdict(list)
    for line in works.client.run_logs(run.id, limit=10_000):
        said[line.index].append(line.text)
    for item in range(8):
        assert said[item] == [f"{item} {number} {how}" for number in range(250) for how in _HOW], (
            item
        )


_HOW = ("out", "err", "log", "parts")
