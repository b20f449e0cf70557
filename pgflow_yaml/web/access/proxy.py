"""The way in behind a proxy that knows its users: it names them in a header."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeAlias

from starlette.datastructures import Headers

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.web.access import ROLES, User

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgflow_yaml.web.access import Scope

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_LONGEST = 200


class ProxyHeader:
    """Admits whom a header names, if the request comes from a trusted proxy."""

    def __init__(
        self, header: str, networks: Iterable[str], *, roles_header: str | None = None
    ) -> None:
        """Raises WrongSetting for a text that is no network.

        Without `roles_header`, each user is an operator. With it, the header holds the role, and
        groups, with commas between; who has neither role is not admitted.
        """
        self._header = header
        self._roles_header = roles_header
        self._networks = [_network(text) for text in networks]

    def __call__(self, scope: Scope) -> User | None:
        """Return the user whom the proxy names."""
        headers = Headers(scope=scope)
        names = headers.getlist(self._header)
        # A second value may be what the browser sent: which one the proxy means, nobody can tell.
        if not self._is_trusted(scope) or len(names) != 1:
            return None
        name = names[0].strip()
        if not name or len(name) > _LONGEST or not name.isprintable():
            return None
        if self._roles_header is None:
            return User(name=name, role="operator")
        return _with_roles(name, headers.getlist(self._roles_header))

    def _is_trusted(self, scope: Scope) -> bool:
        try:
            peer = ipaddress.ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped:
            peer = peer.ipv4_mapped
        return any(peer in network for network in self._networks)


def _with_roles(name: str, values: Sequence[str]) -> User | None:
    if len(values) != 1:
        return None
    words = [word.strip() for word in values[0].split(",")]
    role = next((role for role in reversed(ROLES) if role in words), None)
    if role is None:
        return None
    return User(name=name, role=role, groups=tuple(word for word in words if word not in ROLES))


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError:
        raise WrongSetting(
            f'--trusted-proxy "{text}" is no network; write 10.0.0.5 or 10.0.0.0/24'
        ) from None
