"""Each file of deploy/ is read by the tool that its users have, or by one with the same rules."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema
import psycopg
import pytest

from tests.deploy.files import DOCKERFILE, KUBERNETES, MANIFESTS, UNIT, documents, tool

if TYPE_CHECKING:
    from pathlib import Path

# The fields that KEDA 2 has, as its documentation lists them: no tool has its schemas.
_NAMED = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_COUNT = {"type": "integer", "minimum": 0}
KEDA: dict[str, dict[str, Any]] = {
    "ScaledObject": {
        "scaleTargetRef": _NAMED,
        "pollingInterval": _COUNT,
        "cooldownPeriod": _COUNT,
        "minReplicaCount": _COUNT,
        "maxReplicaCount": _COUNT,
        "triggers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "metadata"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "postgresql"},
                    "metadata": _TEXTS,
                    "authenticationRef": _NAMED,
                },
            },
        },
    },
    "TriggerAuthentication": {"secretTargetRef": {"type": "array", "items": _TEXTS}},
}
SCALER = {
    *("query", "targetQueryValue", "activationTargetQueryValue"),
    *("host", "port", "userName", "dbName", "sslmode"),
}


def run(*command: str | Path) -> tuple[int, str]:
    """The exit code of a tool and all that it has said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_the_dockerfile_has_no_finding() -> None:
    assert run(tool("hadolint"), DOCKERFILE) == (0, "")


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_each_object(name: str) -> None:
    """With no field that it does not know."""
    code, said = run(tool("kubernetes-validate"), "--strict", KUBERNETES / f"{name}.yaml")

    assert (code, said.count("passed for resource")) == (0, len(documents(name))), said


def test_the_tool_would_find_a_mistake(tmp_path: Path) -> None:
    """A field with a wrong name is one."""
    text = (KUBERNETES / "worker.yaml").read_text(encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(text.replace("readinessProbe:", "readyProbe:"))

    code, said = run(tool("kubernetes-validate"), "--strict", tmp_path / "bad.yaml")

    assert code != 0
    assert "readyProbe" in said


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Without a word: an unknown key is only a warning. (The program need not be installed.)"""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: this machine has no systemd")
    text = UNIT.read_text(encoding="utf-8")
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/opt/pgflow-yaml/bin/pgflow-yaml worker", "/bin/sh worker"))

    assert run(analyze, "verify", "--man=no", unit) == (0, "")

    unit.write_text(unit.read_text().replace("KillMode=", "KillMod="))
    assert "Unknown key 'KillMod'" in run(analyze, "verify", "--man=no", unit)[1]


def test_the_scaler_has_the_fields_of_keda() -> None:
    """Each of the type that it takes: all of a trigger are texts."""
    for document in documents("scaledobject"):
        fields = KEDA[document["kind"]]
        schema = {"type": "object", "additionalProperties": False, "properties": fields}
        assert document["apiVersion"] == "keda.sh/v1alpha1"
        jsonschema.validate(document["spec"], schema)
    scaled, authentication = documents("scaledobject")
    (trigger,) = scaled["spec"]["triggers"]

    assert set(trigger["metadata"]) == SCALER
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    (secret,) = authentication["spec"]["secretTargetRef"]
    assert set(secret) == {"parameter", "name", "key"}


def test_the_query_of_the_scaler_is_one_number_for_a_reader(guarded: str) -> None:
    """Neither a null, which KEDA cannot read, nor a right that its login has not."""
    (trigger,) = documents("scaledobject")[0]["spec"]["triggers"]
    with psycopg.connect(guarded) as connection:
        connection.execute("set role pgflow_reader")
        rows = connection.execute(trigger["metadata"]["query"].encode()).fetchall()

    assert rows == [(0,)]
