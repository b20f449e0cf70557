"""Connections of the handler `http`: the address is checked, then this very address is dialled.

A name is looked up once: a server of names that gives another address a moment later has no effect
(DNS rebinding). Private addresses are refused unless the worker allows them.
"""

from __future__ import annotations

import io
import socket
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from ssl import create_default_context
from typing import TYPE_CHECKING, Any, Protocol, cast

from pgflow_yaml.errors import PermanentError, PgflowError
from pgflow_yaml.handlers.grants import HTTP_ALLOW, NotGranted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias
    from urllib.parse import SplitResult

    from pgflow_yaml.handlers.grants import Grants
    from pgflow_yaml.worker.calls import Context

    Address: TypeAlias = IPv4Address | IPv6Address

_CONNECT_SECONDS = 10.0
_LOOK_SECONDS = 0.2
# The addresses that give the machines of clouds their settings, beside the link-local one.
_METADATA = frozenset(
    ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
# Not every release of Python knows them all as private.
_SPECIAL = IPv4Network("192.0.0.0/24"), IPv6Network("2001::/23"), IPv6Network("3fff::/20")
_GLOBAL = IPv6Network("2000::/3")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = IPv6Network("::/96")


class NoAnswer(PgflowError):
    """The host of a request cannot be reached, or does not answer as HTTP wants it."""


class _Asked(Protocol):
    @property
    def url(self) -> SplitResult: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


class Wire:
    """The time that a call has left, and whether it is still wanted."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        seconds = (ctx.deadline - datetime.now(UTC)).total_seconds()
        self._deadline = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left; raise TimeoutError if there are none, or nobody waits."""
        left = self._deadline - time.monotonic()
        if left <= 0 or self._ctx.cancelled:
            raise TimeoutError
        return left


class _Reader(io.RawIOBase):
    """The bytes of a socket: a server that sends one now and then does not outlast the call."""

    def __init__(self, sock: socket.socket, wire: Wire) -> None:
        self._sock, self._wire = sock, wire

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for the next bytes."""
        while True:
            self._sock.settimeout(min(self._wire.left(), _LOOK_SECONDS))
            try:
                return self._sock.recv_into(buffer)
            except TimeoutError:
                continue


class _Socket:
    """A socket as `http.client` uses it, within the time of the call."""

    def __init__(self, sock: socket.socket, wire: Wire) -> None:
        self._sock, self._wire = sock, wire

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the stream of the reply."""
        return io.BufferedReader(_Reader(self._sock, self._wire))

    def sendall(self, data: bytes) -> None:
        """Send all bytes."""
        view = memoryview(data)
        while view:
            self._sock.settimeout(min(self._wire.left(), _LOOK_SECONDS))
            try:
                view = view[self._sock.send(view) :]
            except TimeoutError:
                continue

    def close(self) -> None:
        """Do nothing: `connect` closes the socket."""


@contextmanager
def connect(asked: _Asked, grants: Grants, wire: Wire) -> Iterator[HTTPConnection]:
    """Connect to an address of the host that may be asked."""
    sock = _dial(asked, _permitted(asked, grants), wire)
    try:
        if asked.url.scheme == "https":
            sock.settimeout(min(wire.left(), _CONNECT_SECONDS))
            sock = create_default_context().wrap_socket(sock, server_hostname=asked.host)
        connection = HTTPConnection(asked.host, asked.port)
        connection.default_port = 443 if asked.url.scheme == "https" else 80
        connection.sock = cast("socket.socket", _Socket(sock, wire))
        yield connection
    finally:
        sock.close()


def _dial(asked: _Asked, places: Sequence[Any], wire: Wire) -> socket.socket:
    reason = ""
    for family, kind, protocol, _, place in places:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(min(wire.left(), _CONNECT_SECONDS))
            sock.connect(place)
        except OSError as error:
            sock.close()
            reason = error.strerror or "no answer in time"
        else:
            return sock
    raise NoAnswer(f"{asked.host}:{asked.port} cannot be reached: {reason}")


def _permitted(asked: _Asked, grants: Grants) -> list[Any]:
    """Return the addresses of the host that may be asked; raise NotGranted if there are none."""
    try:
        places = socket.getaddrinfo(asked.host, asked.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NoAnswer(f"the host {asked.host} is not known: {error.strerror}") from None
    except UnicodeError:
        raise PermanentError("url: its host is not a name of a host") from None
    allowed = grants.addresses()
    permitted = [place for place in places if _may_ask(asked, str(place[4][0]), allowed)]
    if not permitted:
        address = str(places[0][4][0])
        has = "is a private address" if address == asked.host else f"is {address}, which is private"
        raise NotGranted(
            f"{asked.host} {has}: to allow it, name it in {HTTP_ALLOW} where the worker runs"
        )
    return permitted


def _may_ask(asked: _Asked, text: str, allowed: Sequence[str]) -> bool:
    address = ip_address(text.partition("%")[0])
    inner = inside(address)
    if is_public(inner):
        return True
    networks, names = _sorted(allowed)
    if any(one in network for one in (address, inner) for network in networks):
        return True
    # A name stands for whatever address it has, but never for the machine's own settings.
    is_named = asked.host in names or f"{asked.host}:{asked.port}" in names
    return is_named and not inner.is_link_local and inner not in _METADATA


def is_public(address: Address) -> bool:
    """Return True if an address is reachable from anywhere, and so gives no access."""
    special = (
        address.is_private
        or address.is_multicast
        or address.is_reserved
        or address in _METADATA
        or any(address in network for network in _SPECIAL)
        or (isinstance(address, IPv6Address) and address not in _GLOBAL)
    )
    return address.is_global and not special


def inside(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    is_wrapped = any(address in network for network in _NAT64)
    if is_wrapped or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _sorted(allowed: Sequence[str]) -> tuple[list[Any], set[str]]:
    """Return the networks, and the names of hosts, some with a port."""
    networks, names = [], set()
    for entry in allowed:
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            names.add(entry.lower())
    return networks, names
