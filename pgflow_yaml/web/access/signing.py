"""Texts that a browser keeps for this server, signed so that it cannot change them."""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from typing import TYPE_CHECKING

from pgflow_yaml.project.link_key import make_key

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32


class Signer:
    """Signs texts with one key; a signature for one purpose is worth nothing for another."""

    def __init__(self, key: bytes | None = None) -> None:
        """Take a key; without one, what was signed is void when the server ends."""
        self._key = key or secrets.token_bytes(KEY_BYTES)

    def mac(self, purpose: str, text: str) -> str:
        """Return the signature of a text."""
        return _encoded(hmac.digest(self._key, f"{purpose}\0{text}".encode(), "sha256"))

    def sign(self, purpose: str, text: str) -> str:
        """Return a text with its signature, in the characters of a cookie."""
        return f"{_encoded(text.encode())}.{self.mac(purpose, text)}"

    def read(self, purpose: str, signed: str) -> str | None:
        """Return the text of a signed value; None if not signed here for the purpose."""
        body, _, mac = signed.partition(".")
        with suppress(ValueError):
            text = urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
            if same(mac, self.mac(purpose, text)):
                return text
        return None


def same(given: str, right: str) -> bool:
    """Compare two texts in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


def key_in(folder: Path) -> bytes | None:
    """Return the key in a folder, `ui.key`; it is made if absent. None: it cannot be kept there."""
    file = folder / "ui.key"
    with suppress(OSError, ValueError):
        make_key(file)
        key = bytes.fromhex(file.read_text(encoding="ascii"))
        return key if len(key) >= KEY_BYTES else None
    return None


def _encoded(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")
