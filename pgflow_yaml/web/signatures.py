"""Signatures of requests: HMAC with SHA-256 over the body as it came, in the three usual headers.

- Standard Webhooks: `webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature`,
  a list of `v1,BASE64` over `ID.TIMESTAMP.BODY`. The key of a secret `whsec_BASE64` is what follows
  `whsec_`, decoded; any other secret is the key itself.
- `stripe-signature: t=TIMESTAMP,v1=HEX` over `TIMESTAMP.BODY`.
- `x-hub-signature-256: sha256=HEX` over the body, as GitHub signs. It has no time.

The first of these headers that is there counts. Comparisons take the same time whatever they find.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WINDOW = 300
"""Seconds by which the time of a signature may differ from ours."""
_TIME = re.compile(r"[0-9]{1,12}", re.ASCII)
_ID = re.compile(r"[!-~]+", re.ASCII)  # printable, as in a header


def is_signed(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Return True if the body was signed with this secret and, where it has a time, just now.

    Names of headers are in lower case. Values that were sent twice, joined by a comma, are wrong.
    """
    if "webhook-signature" in headers:
        return _standard(secret, headers, body, now)
    if "stripe-signature" in headers:
        return _stripe(secret, headers["stripe-signature"], body, now)
    expected = f"sha256={_mac(secret.encode(), body).hex()}"
    return _one_of([headers.get("x-hub-signature-256", "")], expected)


def message_id(headers: Mapping[str, str]) -> str | None:
    """Return the id that a good signature covers; None where it covers none."""
    return headers.get("webhook-id") if "webhook-signature" in headers else None


def _standard(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    message, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    signed = _mac(_key(secret), f"{message}.{moment}.".encode("latin-1", "replace") + body)
    good = _one_of(
        headers["webhook-signature"].split(" "), f"v1,{base64.b64encode(signed).decode()}"
    )
    # A dot in the id would let a part of the content be read as another part.
    return good and "." not in message and bool(_ID.fullmatch(message)) and _is_fresh(moment, now)


def _stripe(secret: str, header: str, body: bytes, now: float) -> bool:
    parts = [part.strip().partition("=") for part in header.split(",")]
    moments = [value for name, _, value in parts if name == "t"]
    moment = moments[0] if len(moments) == 1 else ""
    signed = _mac(secret.encode(), moment.encode("latin-1", "replace") + b"." + body)
    good = _one_of([value for name, _, value in parts if name == "v1"], signed.hex())
    return good and _is_fresh(moment, now)


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, hashlib.sha256)


def _key(secret: str) -> bytes:
    """Return the key of a secret; one that is `whsec_` without BASE64 behind it is as it stands."""
    prefix, _, rest = secret.partition("_")
    try:
        key = base64.b64decode(rest, validate=True) if prefix == "whsec" else b""
    except binascii.Error:
        key = b""
    return key or secret.encode()


def _one_of(given: Iterable[str], expected: str) -> bool:
    """Return True if one of the texts is the expected one, after a look at all of them."""
    ours = expected.encode()
    found = [hmac.compare_digest(each.encode("latin-1", "replace"), ours) for each in given]
    return any(found)


def _is_fresh(moment: str, now: float) -> bool:
    return bool(_TIME.fullmatch(moment)) and abs(now - int(moment)) <= WINDOW
