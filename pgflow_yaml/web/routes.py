"""All routes in one table. Who may ask for what is written here, or in a page or an action below.

To add a page, write `pages/WORD.py` with a function that reads (`Asked` → what the template shows)
and a `PAGE = Page(…)`; write `templates/WORD.html`, which extends `base.html`; add the module to
PAGES. The page is a GET for viewers, its JSON beside it (`json`: what the command prints) too.

To add a part, which is updated by itself, add a `Part(read=…, watch=…)` to the page and write
`templates/WORD/PART.html`; the page shows it by `{{ part("PART") }}`. Without JavaScript it is
simply a piece of the page. A part that cannot be read says so, and the rest of the page stands.
What several readers need of one request they read by `asked.once(function)`.

To add a value to keep as a file, add a `Download(path=…, read=…)` to DOWNLOADS.

To add an action, write `actions/WORD.py` with a function that asks, one that acts (it returns
`Done(to=…, said=…)`, or raises: the form is then shown again with the sentence; or None: it is
shown again, as after a preview) and an
`ACTION = Action(…)`; write `templates/actions/WORD.html`, which extends `actions/form.html`; add
the module to ACTIONS. Both its pages are for operators, and absent from a server that only reads.
`asked.client` of an action can write; pass `by=asked.user.name`.

`tests/web/test_access.py` asks for each row as each kind of user: a row needs no test for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.web import answers, files, links, login
from pgflow_yaml.web.access.sessions import SignIn
from pgflow_yaml.web.actions import (
    activate,
    bulk,
    cancel,
    decide,
    pause,
    resume,
    retry,
    send,
    start,
)
from pgflow_yaml.web.live.stream import events
from pgflow_yaml.web.pages import (
    bulk as bulk_page,
)
from pgflow_yaml.web.pages import (
    compare,
    flow,
    flows,
    items,
    logs,
    queues,
    run,
    runs,
    schedules,
    system,
    task,
    values,
    waiting,
)
from pgflow_yaml.web.receiving import Receiver
from pgflow_yaml.web.table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgflow_yaml.web.state import State
    from pgflow_yaml.web.table import Action, Download, Page

PAGES: Sequence[Page] = (
    runs.PAGE,
    run.PAGE,
    compare.PAGE,
    flows.PAGE,
    flow.PAGE,
    bulk_page.PAGE,
    waiting.PAGE,
    items.PAGE,
    task.PAGE,
    logs.PAGE,
    schedules.PAGE,
    queues.PAGE,
    system.PAGE,
)
DOWNLOADS: Sequence[Download] = (*values.DOWNLOADS,)
ACTIONS: Sequence[Action] = (
    cancel.ACTION,
    start.ACTION,
    activate.ACTION,
    bulk.CANCEL,
    bulk.RETRY,
    decide.APPROVE,
    decide.REJECT,
    send.ACTION,
    retry.ACTION,
    *(pause.SCHEDULES, pause.QUEUE, resume.SCHEDULES, resume.QUEUE),
)


def rows(state: State) -> list[Row]:
    """Return the routes of a server; the first that matches a path answers."""
    table = [*_files(), *_login(state), *_live(state), *_hooks(state), *_links(state)]
    for page in PAGES:
        table += _page(state, page)
    for offered in DOWNLOADS:
        app = answers.download(state, offered)
        table.append(Row(method="GET", path=offered.path, who="viewer", kind="json", app=app))
    for action in ACTIONS:
        table += _action(state, action)
    # The fixed paths before those with a name in them.
    table.sort(key=lambda row: "{" in row.path.split("/")[-1])
    return [row for row in table if not (row.writes and state.read_only)]


def _files() -> Iterator[Row]:
    for path, file in files.FILES.items():
        yield Row(method="GET", path=path, who="anyone", kind="file", app=files.app(file))
    yield Row(method="GET", path="/healthz", who="anyone", kind="file", app=files.healthy)


def _login(state: State) -> Iterator[Row]:
    if isinstance(state.authorize, SignIn):
        ask, check, leave = login.apps(state, state.authorize)
        yield Row(method="GET", path="/login", who="anyone", kind="page", app=ask)
        yield Row(method="POST", path="/login", who="anyone", kind="page", app=check)
        yield Row(method="POST", path="/logout", who="viewer", kind="page", app=leave)
    for path, app in (("/theme", login.theme_app(state)), ("/zone", login.zone_app(state))):
        yield Row(method="POST", path=path, who="viewer", kind="page", app=app)


def _live(state: State) -> Iterator[Row]:
    yield Row(method="GET", path="/events", who="viewer", kind="stream", app=events(state))


def _hooks(state: State) -> Iterator[Row]:
    if state.hooks is not None:
        receiver = Receiver(state, state.hooks)
        path = "/hooks/{flow}"
        yield Row(method="POST", path=path, who="anyone", kind="hook", app=receiver, writes=True)


def _links(state: State) -> Iterator[Row]:
    if state.link_key is not None:
        # The signature in the path is the right to ask, and stands for the token of a session.
        ask, do = links.apps(state, state.link_key)
        path = links.PATH
        yield Row(method="GET", path=path, who="anyone", kind="page", app=ask, writes=True)
        yield Row(method="POST", path=path, who="anyone", kind="page", app=do, writes=True)


def _page(state: State, page: Page) -> Iterator[Row]:
    json_path = page.json_path or f"{page.path}.json"
    shown, data = answers.page(state, page), answers.json_of(state, page)
    yield Row(method="GET", path=json_path, who="viewer", kind="json", app=data)
    for name in page.parts:
        part, path = answers.part(state, page, name), page.part_path(name)
        yield Row(method="GET", path=path, who="viewer", kind="part", app=part)
    yield Row(method="GET", path=page.path, who="viewer", kind="page", app=shown)


def _action(state: State, action: Action) -> Iterator[Row]:
    ask, do = answers.form(state, action), answers.act(state, action)
    path = action.path
    yield Row(method="GET", path=path, who="operator", kind="page", app=ask, writes=True)
    yield Row(method="POST", path=path, who="operator", kind="page", app=do, writes=True)
