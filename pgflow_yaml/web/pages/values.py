"""The values of a run as files: its input, its output, the output of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.client import lookup
from pgflow_yaml.web.pages.of_run import snapshot
from pgflow_yaml.web.table import Download

if TYPE_CHECKING:
    from pgflow_yaml.web.asked import Asked


def _input(asked: Asked) -> tuple[object, str]:
    run = asked.once(snapshot)["run"]
    return run["input"], f"{run['flow']}-{run['id'][:8]}-input.json"


def _output(asked: Asked) -> tuple[object, str]:
    run = asked.once(snapshot)["run"]
    return run["output"], f"{run['flow']}-{run['id'][:8]}-output.json"


def _step_output(asked: Asked) -> tuple[object, str]:
    shown = asked.once(snapshot)
    step = lookup.step(shown, asked.params["step"])
    return step["output"], f"{shown['run']['flow']}-{shown['run']['id'][:8]}-{step['slug']}.json"


DOWNLOADS = (
    Download(path="/runs/{run}/input.json", read=_input),
    Download(path="/runs/{run}/output.json", read=_output),
    Download(path="/runs/{run}/steps/{step}/output.json", read=_step_output),
)
