"""Steps with `resources`: workers that have them run their tasks, others leave them alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.errors import InvalidFlow
from pgflow_yaml.runs.why import sentences
from pgflow_yaml.worker.engines import node
from pgflow_yaml.worker.executors import InEngine
from tests.executors.fake_engine import FakeEngine
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from tests.fixtures.working import Works

HANDLERS = """
import threading, time
running, most = set(), [0]
lock = threading.Lock()
def fit(item):
    with lock:
        running.add(item)
        most[0] = max(most[0], len(running))
    time.sleep(0.02)
    with lock: running.discard(item)
    return item
def peak(outputs): return most[0]
def light(input): return "light"
"""
FIT = """
flow: fit
steps:
  light: {handler: lab.light}
  fit:
    handler: lab.fit
    map: [0, 1, 2, 3, 4, 5, 6, 7]
    resources: {gpus: 1, memory: 2GB}
  peak: {handler: lab.peak, depends_on: [fit]}
"""


@pytest.fixture(autouse=True)
def handlers(works: Works) -> None:
    """The module of the handlers."""
    works.app.write("lab.py", HANDLERS)


def test_tasks_wait_for_a_worker_that_offers_what_they_need(works: Works) -> None:
    works.deploy(FIT)
    run = works.client.start("fit")
    works.start()

    def why() -> str:
        return "; ".join(sentences(works.client.why(run.id), datetime.now(UTC)).values())

    eventually(lambda: "2GB of memory" in why(), what="why says it")
    assert "no worker has had 1 gpu and 2GB of memory and lab.fit for" in why()

    def states() -> dict[str, str]:
        return {step.slug: step.status for step in works.client.get(run.id).steps}

    others = {"light": "completed", "fit": "started", "peak": "created"}
    eventually(lambda: states() == others, what="the other step completes")
    (finding,) = [
        found
        for check in works.client.examine().checks
        for found in check.findings
        if "lab.fit" in found.message
    ]
    assert 'no worker has 1 gpu and 2GB of memory and "lab.fit"' in finding.message
    assert finding.fix
    assert "pgflow-yaml worker --resources gpus=1,memory=2000000000" in finding.fix

    works.start(resources={"gpus": 2, "memory": 16e9}, concurrency=8)

    # Two GPUs, so two at once, although there are eight slots.
    assert works.ended(run.id).output == {"light": "light", "peak": 2}


def test_the_nodes_of_an_engine_offer_what_they_have(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine keeps the sum; a task that no node can take is not submitted to wait for ever."""
    monkeypatch.setenv("PGFLOW_YAML_APP_DIR", str(works.app.folder))
    node._handlers.cache_clear()
    works.deploy(FIT)
    run = works.client.start("fit")
    engine = FakeEngine(slots=4)
    engine.resources = {"cpus": 4, "gpus": 1, "memory": 1e9}
    works.start(executor=InEngine(make=lambda: engine))
    eventually(lambda: works.client.get(run.id).steps[0].status == "completed")
    assert all(not call.resources for call in engine.calls)

    other = FakeEngine(slots=4)
    other.resources = {"cpus": 4, "gpus": 1, "memory": 4e9}
    works.start(executor=InEngine(make=lambda: other))

    assert works.ended(run.id).status == "completed"
    needs = {tuple(call.resources.items()) for call in other.calls if call.resources}
    assert needs == {(("gpus", 1), ("memory", 2_000_000_000))}
    node._handlers.cache_clear()


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        ("{gpus: 0}", "more than 0"),
        ("{gpus: -1}", "more than 0"),
        ("{gpus: one}", "gpus"),
        ("{memory: 8}", "must be a text, not the number 8"),
        ("{memory: 8gb}", "8GB"),
        ("{memory: 0GB}", "at least 1 byte"),
        ("{GPU: 1}", '"GPU" cannot name a resource'),
        ("{}", 'resources of step "a"'),
        ("[gpus]", 'resources of step "a" must be a mapping'),
    ],
)
def test_wrong_resources_are_told_where_they_stand(
    works: Works, resources: str, sentence: str
) -> None:
    with pytest.raises(InvalidFlow, match=r"flow.yaml:3:\d+: ") as raised:
        works.deploy(f"flow: wrong\nsteps:\n  a: {{handler: lab.light, resources: {resources}}}\n")
    (found,) = raised.value.diagnostics
    assert sentence in f"{found.message}; {found.help}"


def test_a_wait_and_a_child_need_nothing(works: Works) -> None:
    text = "flow: wrong\nsteps:\n  a: {wait: {for: 1s}, resources: {gpus: 1}}\n"
    with pytest.raises(InvalidFlow, match='"resources" does not belong to step "a"'):
        works.deploy(text)
