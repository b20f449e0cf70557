"""What the files of deploy/ say fits the program: its options, settings, pages and grace."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import click
import pytest
import yaml

from pgflow_yaml.cli.app import app
from pgflow_yaml.cli.commands import ui
from pgflow_yaml.project.link_key import FILE, VARIABLE
from pgflow_yaml.project.settings import Settings
from pgflow_yaml.worker import Worker
from tests.deploy.files import (
    MANIFESTS,
    command_lines,
    compose,
    container,
    documents,
    instruction,
    pod,
    setting_names,
    unit,
)

LINES = [pytest.param(line, id=where) for where, line in command_lines()]
GRACE = inspect.signature(Worker).parameters["grace_seconds"].default
MARGIN = 15


def parsed(line: list[str], monkeypatch: pytest.MonkeyPatch) -> click.Context:
    """A command line as click reads it; files and folders that it names need not be here."""
    name, *arguments = line
    command = app.get_command(click.Context(app), name)
    assert command is not None, name
    for param in command.params:
        if isinstance(param.type, click.Path):
            monkeypatch.setattr(param.type, "exists", False)
    return command.make_context(name, arguments)


@pytest.mark.parametrize("line", LINES)
def test_each_command_line_is_one_of_ours(line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and options exist, and the web view has a way in for its address."""
    given: dict[str, Any] = parsed(line, monkeypatch).params

    if line[0] == "ui" and not given["hashes"]:
        ui._check(given["host"], given)


def test_a_wrong_option_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(click.NoSuchOption):
        parsed(["worker", "--metric-port", "1"], monkeypatch)


def test_the_settings_are_ours() -> None:
    known = {f"PGFLOW_YAML_{field.name.upper()}" for field in fields(Settings)} | {VARIABLE}

    assert setting_names() <= known


def test_who_stops_a_worker_waits_for_its_grace() -> None:
    """And 15 seconds more, for its last report."""
    waits = {
        "systemd": unit()["Service"]["TimeoutStopSec"],
        "compose": compose()["worker"]["stop_grace_period"].removesuffix("s"),
        "kubernetes": pod("worker")["terminationGracePeriodSeconds"],
    }

    assert {where: float(wait) for where, wait in waits.items()} == dict.fromkeys(
        waits, GRACE + MARGIN
    )
    assert unit()["Service"]["KillMode"] == "mixed"
    assert instruction("ENTRYPOINT").startswith("[")  # no shell, which would keep the signal


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_pod_needs_no_right(name: str) -> None:
    """No root, no token, nothing to write to but what is mounted."""
    security, own = pod(name)["securityContext"], container(name)["securityContext"]

    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
    assert instruction("USER") == "10001:10001"
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod(name)["automountServiceAccountToken"] is False


def test_the_image_and_the_services_agree() -> None:
    """The probes ask the pages that a worker and the web view have, at ports that are open."""
    worker, view = container("worker"), container("ui")
    assert worker["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "metrics"}
    assert worker["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert view["readinessProbe"]["httpGet"]["path"] == "/healthz"
    ports = [each["ports"][0]["containerPort"] for each in (view, worker)]

    assert instruction("EXPOSE").split() == [str(port) for port in ports]
    assert ports == [ui.PORT, 9187]
    assert worker["args"] == compose()["worker"]["command"] == yaml.safe_load(instruction("CMD"))


def test_the_key_of_links_lies_where_the_web_view_looks() -> None:
    """Beside the app, which is the folder where the image works."""
    mounts = {mount["name"]: mount["mountPath"] for mount in container("ui")["volumeMounts"]}
    (item,) = next(each for each in pod("ui")["volumes"] if each["name"] == "key")["secret"][
        "items"
    ]

    assert f"{mounts['key']}/{item['path']}" == f"{instruction('WORKDIR')}/{FILE}"
    assert VARIABLE in {variable["name"] for variable in container("worker")["env"]}


def test_one_worker_stays_and_the_target_follows_its_slots() -> None:
    """With no worker nothing fires a timer; eight rounds of handlers may wait."""
    spec = documents("scaledobject")[0]["spec"]
    worker = documents("worker")[0]
    env = {variable["name"]: variable.get("value") for variable in container("worker")["env"]}
    (trigger,) = spec["triggers"]

    assert spec["minReplicaCount"] == 1
    assert spec["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    assert "replicas" not in worker["spec"]
    assert int(trigger["metadata"]["targetQueryValue"]) == 8 * int(
        env["PGFLOW_YAML_CONCURRENCY"] or 0
    )
