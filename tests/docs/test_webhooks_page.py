"""The page about webhooks: its flow is deployed, its request starts a run, and again the same."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from pgflow_yaml import Client
from tests.acceptance.shell import Shell
from tests.docs.fenced import ROOT, blocks
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fixtures.worker_process import StartCli

PAGE = ROOT / "docs" / "how-to" / "webhooks.md"
SECRET = "0f" * 32


@pytest.mark.timeout(120)
def test_the_page_works_as_it_stands(database: str, tmp_path: Path, start_cli: StartCli) -> None:
    """Nothing but curl and openssl sign the request; only the port is another one."""
    shell = Shell(tmp_path, database)
    (flow,) = blocks("yaml", [PAGE])
    (commands,) = blocks("sh", [PAGE])
    (request,) = blocks("bash", [PAGE])
    shell.write("order.flow.yaml", flow.text)
    deploy, serve = (line.split()[1:] for line in commands.text.splitlines())
    shell(*deploy)
    port = str(_free_port())
    server = start_cli(
        *serve, "--port", port, dsn=database, cwd=tmp_path, PGFLOW_YAML_SECRET_SHOP_HOOK=SECRET
    )
    server.wait_for(port)
    eventually(lambda: _is_open(port), what="the server listens")

    def send(secret: str) -> dict[str, object]:
        done = subprocess.run(
            ["bash", "-euc", request.text.replace("8420", port)],
            env={**shell.environment(), "SHOP_HOOK": secret},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return dict(json.loads(done.stdout))

    first = send(SECRET)
    assert send(SECRET) == first
    assert send("another") == {"error": {"message": "refused"}}
    with Client(database) as client:
        assert client.find_run("7") == [first["run"]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_open(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0
