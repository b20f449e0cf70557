"""The page of a signed link: its reader decides one step of one run, without a session.

The signature is the right to see this page and to decide. Nothing else of the run is shown, and no
other page answers to it. Whoever opens a link has decided nothing: programs that look into messages
do that, too.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, Response

from pgflow_yaml.client import outcomes
from pgflow_yaml.errors import NotFound, PgflowError, WrongSetting
from pgflow_yaml.runs.approval_links import LinkRefused, check_open, verify
from pgflow_yaml.runs.run import run_name
from pgflow_yaml.text import clean
from pgflow_yaml.web import asking
from pgflow_yaml.web.answers import (
    BUG,
    FLASH,
    FLASH_SECONDS,
    Application,
    redirect,
    refusal,
    set_cookie,
    theme_of,
)
from pgflow_yaml.web.failures import sentence, status_of
from pgflow_yaml.web.rendering import environment
from pgflow_yaml.web.state import VISIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from pgflow_yaml.client import Client
    from pgflow_yaml.runs.approval_links import Approval
    from pgflow_yaml.web.state import State, Visit

log = logging.getLogger(__name__)

PATH = "/a/{token}"
_LONGEST_NAME = 100


def apps(state: State, key: bytes) -> tuple[Application, Application]:
    """Return the answers of the page of a link, and of its form."""
    return _app(state, key, _show), _app(state, key, _decide, writes=True)


def _app(
    state: State,
    key: bytes,
    answer: Callable[[State, Scope, Client, Approval], Response],
    *,
    writes: bool = False,
) -> Application:
    def answered(scope: Scope) -> Response:
        try:
            approval = verify(scope["path_params"]["token"], key, now=datetime.now(UTC))
            with state.clients.writing() if writes else state.clients.reading() as client:
                return answer(state, scope, client, approval)
        except LinkRefused as refused:
            return refusal(state, scope, 404, sentence(refused), kind="page")
        except PgflowError as error:
            return refusal(state, scope, status_of(error), sentence(error), kind="page")
        except Exception:
            log.exception("no answer for a link")
            return refusal(state, scope, 500, BUG, kind="page")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reply = await run_in_threadpool(answered, scope)
        await reply(scope, receive, send)

    return Application(app)


def _show(state: State, scope: Scope, client: Client, approval: Approval) -> Response:
    flash = HTTPConnection(scope).cookies.get(FLASH, "")
    said = state.signer.read("flash", flash) or ""
    reply = _page(scope, client, approval, form={}, said=said)
    if said:
        reply.delete_cookie(FLASH, path=scope.get("root_path", "") or "/")
    return reply


def _decide(state: State, scope: Scope, client: Client, approval: Approval) -> Response:
    visit: Visit = scope[VISIT]
    try:
        ask, over = _read(client, approval)
        if over:
            raise LinkRefused(over)
        decision = asking.decide(
            client,
            ask,
            visit.form,
            approves=_approves(visit.form),
            by=_name(approval, visit.form),
        )
    except PgflowError as error:
        log.info("refused a decision by a link: %s", sentence(error))
        return _page(
            scope, client, approval, form=visit.form, error=sentence(error), status=status_of(error)
        )
    reply = redirect(scope.get("root_path", "") + f"/a/{scope['path_params']['token']}")
    said = state.signer.sign("flash", outcomes.decided(decision))
    root = scope.get("root_path", "")
    set_cookie(reply, state, FLASH, said, root=root, seconds=FLASH_SECONDS)
    return reply


def _approves(form: Mapping[str, str]) -> bool:
    """Return what was decided: two buttons have a form."""
    decision = form.get("decision", "")
    if decision not in ("approve", "reject"):
        raise WrongSetting("decide by one of the two buttons")
    return decision == "approve"


def _name(approval: Approval, form: Mapping[str, str]) -> str:
    """Return who decides: the person of the link, else a name that nobody vouches for.

    It says so itself, so that it is never that of somebody whom the step names.
    """
    if approval.by is not None:
        return approval.by
    typed = " ".join(clean(form.get("name", "")).split())
    if not 0 < len(typed) <= _LONGEST_NAME:
        raise WrongSetting(f"write your name, of at most {_LONGEST_NAME} characters")
    return f"{typed} (by link)"


def _read(client: Client, approval: Approval) -> tuple[asking.Ask, str]:
    """Return what the step asks, and why the link allows nothing any more, or nothing."""
    try:
        shown = client.run_snapshot(approval.run, outputs=False, run_input=False)
    except NotFound:
        raise LinkRefused("the run of this link is gone") from None
    try:
        check_open(approval, shown)
    except LinkRefused as refused:
        return asking.ask_of(client, shown, approval.step), str(refused)
    ask = asking.ask_of(client, shown, approval.step)
    if not ask.over and approval.by is None and ask.by:
        return ask, f'step "{ask.step}" is for {ask.deciders} to decide, and this link names nobody'
    return ask, ask.over


def _page(
    scope: Scope,
    client: Client,
    approval: Approval,
    *,
    form: Mapping[str, str],
    status: int = 200,
    **more: Any,
) -> Response:
    ask, over = _read(client, approval)
    html = environment.get_template("link.html").render(
        {"said": "", "error": "", **more},
        ask=ask,
        over=over,
        name=run_name(ask.run),
        by=approval.by,
        expires=approval.expires.isoformat(),
        fields=asking.fields_of(ask, form),
        form=form,
        longest=asking.LONGEST_COMMENT,
        longest_name=_LONGEST_NAME,
        root=scope.get("root_path", ""),
        action=scope.get("root_path", "") + f"/a/{scope['path_params']['token']}",
        theme=theme_of(scope),
    )
    return HTMLResponse(html, status)
