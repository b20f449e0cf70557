"""Starts by webhooks: a signed request, and the run that it starts. No web framework is needed.

Whoever has no good signature learns nothing: a flow that is not there, one without a webhook, a
secret that this server does not have and a wrong signature are answered alike, after the same work.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from pgflow_yaml.errors import InvalidInput, NotFound, PgflowError, WrongSetting
from pgflow_yaml.language.expressions import ExpressionError
from pgflow_yaml.language.json_text import NotJson, read_json
from pgflow_yaml.language.webhooks import input_of, key_of, known_headers
from pgflow_yaml.web.signatures import is_signed, message_id
from pgflow_yaml.worker.calls.secrets import SecretMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgflow_yaml.client import Client
    from pgflow_yaml.language.model import Json
    from pgflow_yaml.worker.calls.secrets import Secrets

log = logging.getLogger(__name__)

LARGEST = 1_000_000
"""Bytes of a body; a larger one is refused before anything is read in it."""
RETRY_AFTER = 5
"""Seconds after which a sender may try again, where the database did not answer."""
_FLOW = re.compile(r"[a-z_][a-z0-9_]{0,46}")
_NOBODY = token_hex(32)  # the secret of flows that have none; nobody knows it
_NO_NAME = "NO_WEBHOOK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Answer to a request."""

    status: int
    json: Mapping[str, Json]
    headers: Mapping[str, str] = field(default_factory=dict)


def _error(status: int, message: str, **more: Json) -> Reply:
    return Reply(status=status, json={"error": {"message": message, **more}})


REFUSED = _error(401, "refused")
"""The one answer to whoever has not proved to know the secret."""
TOO_LARGE = _error(413, f"the body has more than {LARGEST:,} bytes")


class _Wrong(Exception):
    """A request with a good signature that starts nothing."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__()


def handle(
    client: Client,
    flow: str,
    headers: Iterable[tuple[str, str]],
    body: bytes,
    *,
    secrets: Secrets,
    now: float,
) -> Reply:
    """Start the run that a request asks for; `now` is in seconds since 1970."""
    if len(body) > LARGEST:
        return TOO_LARGE
    sent = _joined(headers)
    try:
        stored = client.get_webhook(flow) if _FLOW.fullmatch(flow) else None
        webhook = {} if stored is None else stored["webhook"]
        secret = _secret(secrets, flow, webhook.get("secret"))
        if not is_signed(secret or _NOBODY, sent, body, now) or stored is None or secret is None:
            return REFUSED
        key, run_input = _read(webhook, sent, body)
        started = client.start_run(flow, run_input, key=key, version=stored["version"])
    except _Wrong as wrong:
        return wrong.reply
    except PgflowError as error:
        return _answer(error)
    return Reply(status=202, json={"run": started.run_id})


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by their names in lower case; a repeated one is joined, as HTTP has it."""
    joined: dict[str, str] = {}
    for name, value in headers:
        known = joined.get(name.lower())
        joined[name.lower()] = value if known is None else f"{known}, {value}"
    return joined


def _secret(secrets: Secrets, flow: str, name: str | None) -> str | None:
    """Look up a secret, for a flow without one as well; None where this server has none."""
    try:
        found = secrets.get(name or _NO_NAME)
    except SecretMissing as error:
        if name is not None:
            _warn_once(f"the webhook of flow {flow} refuses every request: {error}")
        return None
    return found if name is not None else None


@lru_cache(maxsize=1_000)
def _warn_once(message: str) -> None:
    """Log a warning that strangers could otherwise repeat at will."""
    log.warning("%s", message)


def _read(webhook: Mapping[str, Any], sent: Mapping[str, str], body: bytes) -> tuple[str, Json]:
    """Return the key and the input of the run; raises _Wrong."""
    try:
        value = read_json(body.decode())
    except UnicodeDecodeError as error:
        raise _Wrong(_bad_json("it is not UTF-8")) from error
    except NotJson as error:
        raise _Wrong(_bad_json(str(error))) from error
    headers = known_headers(sent)
    part = "key"
    try:
        key = key_of(webhook, headers, value)
        part = "input"
        run_input = input_of(webhook, headers, value)
    except ExpressionError as error:
        problem: dict[str, Json] = {"path": f"webhook.{part}", "message": str(error)}
        message = f"the {part} of the webhook has no value for this request"
        raise _Wrong(_error(422, message, problems=[problem])) from error
    return _default_key(sent, body) if key is None else key, run_input


def _default_key(sent: Mapping[str, str], body: bytes) -> str:
    """Return the key of a webhook without `key`: what was signed once starts one run."""
    message = message_id(sent)
    return f"webhook:{message or f'sha256:{hashlib.sha256(body).hexdigest()}'}"


def _bad_json(reason: str) -> Reply:
    return _error(400, f"the body is not JSON: {reason}")


def _answer(error: PgflowError) -> Reply:
    """Return the answer for an exception of the client."""
    if isinstance(error, InvalidInput):
        return _error(422, error.message, problems=[dict(problem) for problem in error.problems])
    if isinstance(error, NotFound):
        return REFUSED  # the version was deleted this very moment
    if type(error) is PgflowError:  # the key has a run, which was started with another input
        return _error(409, error.message)
    if isinstance(error, WrongSetting):  # it stays wrong, however often the sender comes again
        log.error("a webhook starts nothing: %s", error)
        return _error(422, "this request cannot start the flow: the log of the server says why")
    return unanswered(error)


def unanswered(error: Exception) -> Reply:
    """Return the answer while the database, or a place to ask it, cannot be had."""
    log.error("a webhook starts nothing: %s", error)
    later = _error(503, "the database does not answer: try again later")
    return replace(later, headers={"retry-after": str(RETRY_AFTER)})
