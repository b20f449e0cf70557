"""Draw `docs/census.svg`: a frame of a real run, taken by the real renderer.

.venv/bin/python docs/picture.py
"""

from __future__ import annotations

import io
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pgflow_yaml import Client, Worker, load
from pgflow_yaml.cli.live.frame import render_run
from pgflow_yaml.cli.live.symbols import Frame
from pgflow_yaml.database import embedded, migrate
from pgflow_yaml.text import moment

if TYPE_CHECKING:
    from pgflow_yaml.runs.snapshot import Snapshot

DOCS = Path(__file__).resolve().parent
FILE = DOCS.parent / "workflows" / "census" / "workflow.yaml"
WIDTH, HEIGHT = 92, 20
SHARE = 0.6
"""The picture is taken when this share of the map is done."""


def main() -> None:
    """Run the census on a server of its own and keep one frame of it."""
    with tempfile.TemporaryDirectory() as folder:
        with embedded.open_server(Path(folder)) as server:
            migrate.apply(server.conninfo())
            snapshot = take(server.conninfo(), out=folder)
        embedded.discard(Path(folder))
    (DOCS / "census.svg").write_text(draw(snapshot), encoding="utf-8")


def take(conninfo: str, *, out: str) -> Snapshot:
    """Start a run, work for it, and look until the map is well on its way."""
    with Client(conninfo) as client:
        client.deploy(load(FILE))
        run = client.start("census", {"folder": out})
        worker = Worker(conninfo, app_dir=FILE.parents[2])
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            while True:
                snapshot: Snapshot = client.run_snapshot(run.id)
                tasks = next(s["tasks"] for s in snapshot["steps"] if s["slug"] == "analyse")
                if tasks["total"] and tasks["completed"] >= SHARE * tasks["total"]:
                    return snapshot
                if snapshot["run"]["status"] != "started":
                    raise RuntimeError(f"the run has {snapshot['run']['status']} too soon")
                time.sleep(0.005)
        finally:
            worker.stop(now=True)
            thread.join()


def draw(snapshot: Snapshot) -> str:
    """The frame as SVG, with the fonts of the reader's machine: no picture calls a server."""
    frame = Frame(width=WIDTH, height=HEIGHT, now=moment(snapshot["now"]))
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(render_run(snapshot, frame))
    svg = console.export_svg(title="pgflow-yaml run workflows/census/workflow.yaml")
    svg = re.sub(r"@font-face \{.*?\}\n*", "", svg, flags=re.DOTALL)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE).strip() + "\n"


if __name__ == "__main__":
    main()
