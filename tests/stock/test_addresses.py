"""The addresses that the handler `http` may ask: the public ones, and those that a worker names."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.errors import PgflowError
from pgflow_yaml.handlers.sockets import inside, is_public

if TYPE_CHECKING:
    from tests.stock.conftest import Stock


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::8"])
def test_public_addresses_are_public(address: str) -> None:
    """They give no access that the whole internet does not have."""
    assert is_public(inside(ip_address(address)))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1"),
        *("224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::"),
        *("2001:0:4136:e378:8000:63bf:80ff:fffe", "100::1", "2001:db8::1", "3fff::1", "5f00::1"),
    ],
)
def test_other_addresses_are_private(address: str) -> None:
    """Also where an address of IPv6 leads to one of IPv4."""
    assert not is_public(inside(ip_address(address)))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "[::1]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "169.254.169.254", "[fe80::1%25lo]"),
    ],
)
def test_private_hosts_are_refused(stock: Stock, host: str) -> None:
    """However they are written; nothing is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        listening.setblocking(False)
        with pytest.raises(PgflowError):
            stock.call("http", url=f"http://{host}:{port}/")
        with pytest.raises(BlockingIOError):
            listening.accept()


class Names:
    """A server of names that a test controls: each question gets the next answer."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def getaddrinfo(self, _host: str, port: int, **_: Any) -> list[Any]:
        """Answer."""
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in answer]


def test_the_address_that_was_checked_is_dialled(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere a moment later is not looked up again (DNS rebinding)."""
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    monkeypatch.setenv("PGFLOW_YAML_HTTP_ALLOW", "127.0.0.2")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        with pytest.raises(Exception, match="cannot be reached"):
            stock.call("http", url=f"http://rebind.example:{listening.getsockname()[1]}/")
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert names.asked == 1


def test_only_permitted_addresses_of_a_name_are_dialled(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A private address beside a permitted one gets no connection."""
    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.1", "127.0.0.2"]).getaddrinfo)
    monkeypatch.setenv("PGFLOW_YAML_HTTP_ALLOW", "127.0.0.2/32")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        with pytest.raises(Exception, match="cannot be reached"):
            stock.call("http", url=f"http://both.example:{listening.getsockname()[1]}/")
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.mark.parametrize(
    ("allowed", "host", "address", "reachable"),
    [
        ("intern.example", "intern.example", "127.0.0.1", True),
        ("intern.example", "INTERN.example", "127.0.0.1", True),
        ("intern.example:{port}", "intern.example", "127.0.0.1", True),
        ("intern.example:1", "intern.example", "127.0.0.1", False),
        ("intern.example", "sub.intern.example", "127.0.0.1", False),
        ("10.0.0.0/8, 127.0.0.0/8", "intern.example", "127.0.0.1", True),
        ("10.0.0.0/8", "intern.example", "127.0.0.1", False),
        ("intern.example", "intern.example", "169.254.169.254", False),
        ("intern.example", "intern.example", "168.63.129.16", False),
    ],
)
def test_a_worker_names_private_hosts_and_networks(
    stock: Stock,
    monkeypatch: pytest.MonkeyPatch,
    allowed: str,
    host: str,
    address: str,
    reachable: bool,  # noqa: FBT001
) -> None:
    """A name never stands for the settings of a cloud's machine: only a network does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setattr(socket, "getaddrinfo", Names([address]).getaddrinfo)
    monkeypatch.setenv("PGFLOW_YAML_HTTP_ALLOW", allowed.replace("{port}", str(port)))
    said = "cannot be reached" if reachable else "PGFLOW_YAML_HTTP_ALLOW"

    with pytest.raises(Exception, match=said):
        stock.call("http", url=f"http://{host}:{port}/")
