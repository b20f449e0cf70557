"""A warning about networks on which others could run code: engines unpickle what they are sent."""

from __future__ import annotations

import ipaddress
import logging

log = logging.getLogger(__name__)


def warn_of_open_network(address: str, *, is_closed: bool) -> None:
    """Log a warning unless only this machine reaches the address, or both ends prove who they are.

    `address` is `HOST:PORT`.
    """
    host = address.rpartition(":")[0].strip("[]") or address
    if is_closed or host == "localhost":
        return
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        log.warning(
            "anybody who reaches the engine at %s can run code on its nodes: close its network, or "
            "use its TLS",
            address,
            extra={"action": "engine"},
        )
