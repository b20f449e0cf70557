"""What the files of deploy/ say: command lines, settings, pods; and the tools that read them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
UNIT = DEPLOY / "systemd" / "pgflow-yaml-worker@.service"
KUBERNETES = DEPLOY / "kubernetes"
MANIFESTS = ("worker", "migrate-job", "ui")


def tool(name: str) -> str:
    """The path of a tool of the extra `dev`; without it the test is left out, except in CI."""
    found = shutil.which(
        name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if found is None:
        assert "CI" not in os.environ, f"{name} is missing: the extra `dev` brings it"
        pytest.skip(f"{name} is not installed: pip install -e '.[dev]'")
    return found


def documents(name: str) -> list[dict[str, Any]]:
    """The objects of one of the files of Kubernetes."""
    return list(yaml.safe_load_all((KUBERNETES / f"{name}.yaml").read_text(encoding="utf-8")))


def compose() -> dict[str, Any]:
    """The services of the Compose file, by name."""
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return services


def unit() -> ConfigParser:
    """The unit; of keys that stand there more than once, the last."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT, encoding="utf-8")
    return parser


def instruction(name: str) -> str:
    """The last instruction of this name of the Dockerfile."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    return str(re.findall(rf"^{name} (.*)$", text, re.MULTILINE)[-1])


def pod(name: str) -> dict[str, Any]:
    """The pod of a Deployment or Job, with one container."""
    (found,) = (each for each in documents(name) if "template" in each["spec"])
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    """The only container of a pod."""
    (found,) = pod(name)["containers"]
    return dict(found)


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Each command line of ours with the file where it stands, without the name of the program."""
    yield "Dockerfile", yaml.safe_load(instruction("CMD"))
    program, *words = shlex.split(unit()["Service"]["ExecStart"])
    assert program.endswith("/pgflow-yaml")
    yield "systemd", [word for word in words if not word.startswith("$")]
    options = re.findall(r"WORKER_OPTIONS=(.*)", UNIT.read_text(encoding="utf-8"))
    yield "systemd, options", ["worker", *shlex.split(options[0])]
    for name, service in compose().items():
        if name != "postgres":
            yield f"compose, {name}", service["command"]
    for name in MANIFESTS:
        yield f"kubernetes, {name}", container(name)["args"]
    for file in (COMPOSE, KUBERNETES / "ui.yaml"):
        for words in re.findall(r"pgflow-yaml (ui --hash)", file.read_text(encoding="utf-8")):
            yield f"comment in {file.name}", shlex.split(words)


def setting_names() -> set[str]:
    """The variables of ours that the files set."""
    texts = (file.read_text(encoding="utf-8") for file in DEPLOY.rglob("*") if file.is_file())
    return {name for text in texts for name in re.findall(r"\bPGFLOW_YAML_\w+", text)}
