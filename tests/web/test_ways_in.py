"""The three ways in: a link of the terminal, a file of users, a header of a proxy."""

from __future__ import annotations

import html
import re
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.web.access import User, sessions
from pgflow_yaml.web.access.loopback import Loopback
from pgflow_yaml.web.access.passwords import hashed, is_hash, matches
from pgflow_yaml.web.access.proxy import ProxyHeader
from pgflow_yaml.web.access.sessions import SECONDS
from pgflow_yaml.web.access.signing import Signer, key_in
from pgflow_yaml.web.access.users import UsersFile, read_users
from pgflow_yaml.web.login import MOST_CHECKS
from tests.web.conftest import COOKIE, PASSWORD, browser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pgflow_yaml.web import WebView
    from tests.web.conftest import Site


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def enter(app: WebView, **form: str) -> Any:
    """The answer to the login form."""
    return browser(app).post("/login", data=form)


def test_a_link_works_once(make_app: Callable[..., WebView]) -> None:
    """The second use is refused; the login page makes a new link, not a second one at once."""
    clock, tokens = Clock(), list[str]()
    way = Loopback(Signer(), "ada", tokens.append, clock=clock)
    way.open()
    app = make_app(way)

    first = enter(app, token=tokens[0], next="/runs/last")
    second = enter(app, token=tokens[0])
    wrong = enter(app, token="")

    assert (first.status_code, first.headers["location"]) == (303, "/runs/last")
    assert (second.status_code, wrong.status_code) == (403, 403)
    assert "older than 10 minutes" in second.text
    cookie = first.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "max-age=43200"))
    clock.now += 11
    for _ in range(2):
        browser(app).get("/login")
    assert len(tokens) == 2
    assert enter(app, token=tokens[1]).status_code == 303


def test_a_link_ends_after_ten_minutes(make_app: Callable[..., WebView]) -> None:
    """Then it admits nobody, and the login page makes another one."""
    clock, tokens = Clock(), list[str]()
    way = Loopback(Signer(), "ada", tokens.append, clock=clock)
    way.open()
    app = make_app(way)
    clock.now += 601

    assert enter(app, token=tokens[0]).status_code == 403
    browser(app).get("/login")
    assert enter(app, token=tokens[1]).status_code == 303


def test_a_session_ends(make_app: Callable[..., WebView]) -> None:
    """After twelve hours, by the button, with a changed cookie, or with another key."""
    clock = Clock()
    way = Loopback(Signer(bytes(32)), "ada", lambda _: None, clock=clock)
    app = make_app(way)
    cookie = way.begin("ada")

    def status(value: str) -> int:
        return browser(app, cookies={COOKIE: value}).get("/events").status_code

    assert status(cookie) == 400
    for spoilt in ("", "x", cookie[:-1], "A" + cookie, Signer().sign("session", "[]")):
        assert status(spoilt) == 401
    assert status(Signer(bytes(32)).sign("flash", '["a", "ada", "", 9999999999]')) == 401
    session = way.session({"type": "http", "headers": [(b"cookie", f"{COOKIE}={cookie}".encode())]})
    assert session is not None
    way.end(session)
    assert status(cookie) == 401
    later = way.begin("ada")
    clock.now += SECONDS
    assert status(later) == 401


def test_two_servers_of_a_host_have_two_sessions(make_app: Callable[..., WebView]) -> None:
    """A browser sends each the cookies of both: by their ports they are one host."""
    visitor = browser(make_app(one := Loopback(Signer(), "ada", lambda _: None)))
    other = make_app(two := Loopback(Signer(), "ada", lambda _: None))
    for way in (one, two):
        visitor.cookies.set(way.cookie, way.begin("ada"))

    assert visitor.get("/events").status_code == 400
    assert browser(other, cookies=visitor.cookies).get("/events").status_code == 400


def test_the_last_sessions_that_ended_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than the server remembers, it is the first one that is forgotten."""
    monkeypatch.setattr(sessions, "_MOST_ENDED", 2)
    way = Loopback(Signer(), "ada", lambda _: None)
    scopes = [
        {"type": "http", "headers": [(b"cookie", f"{way.cookie}={way.begin('ada')}".encode())]}
        for _ in range(3)
    ]
    for scope in scopes:
        session = way.session(scope)
        assert session is not None
        way.end(session)

    assert [way.session(scope) is None for scope in scopes] == [False, True, True]


@pytest.mark.parametrize("wanted", ["//evil.example", "/\\evil.example", "https://evil", "", "/\n"])
def test_a_login_leads_to_a_page_of_ours(site: Site, wanted: str) -> None:
    """What would lead to another host leads to the first page."""
    reply = enter(site.app, name="otto", password=PASSWORD, next=wanted)

    assert (reply.status_code, reply.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("/runs/%D0%B7%D0%B0%D0%BA%D0%B0%D0%B7-42", "/runs/%D0%B7%D0%B0%D0%BA%D0%B0%D0%B7-42"),
        ("/runs/a%23b?step=x", "/runs/a%23b?step=x"),
        ("/?error=%C3%A4%26", "/?error=%C3%A4%26"),
    ],
)
def test_a_login_leads_to_the_page_that_was_asked_for(
    site: Site, address: str, wanted: str
) -> None:
    """Whatever characters its address has; one that a program wrote plainly is encoded."""
    asking = browser(site.app)
    shown = asking.get(asking.get(address).headers["location"]).text
    field = re.search(r'name="next" value="([^"]*)"', shown)
    assert field

    reply = enter(site.app, name="otto", password=PASSWORD, next=html.unescape(field[1]))
    plain = enter(site.app, name="otto", password=PASSWORD, next="/runs/заказ 42")

    assert (reply.status_code, reply.headers["location"]) == (303, wanted)
    assert plain.headers["location"] == "/runs/%D0%B7%D0%B0%D0%BA%D0%B0%D0%B7%2042"


def test_five_wrong_passwords_close_a_name(site: Site) -> None:
    """For a minute, for the right password too; another name is not concerned."""
    wrong = [enter(site.app, name="vera", password=f"wrong {n}").status_code for n in range(5)]
    sixth = enter(site.app, name="vera", password=PASSWORD)

    assert wrong == [403] * 5
    assert sixth.status_code == 429
    assert enter(site.app, name="otto", password=PASSWORD).status_code == 303
    assert enter(site.app, name="nobody", password=PASSWORD).status_code == 403


def test_a_mistake_in_the_users_file_is_no_wrong_password(
    site: Site, users: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The login page says so, no name is closed for it, and only the log says where it is."""
    good = users.read_text()
    users.write_text("vera")

    tries = [enter(site.app, name="vera", password=PASSWORD) for _ in range(6)]
    users.write_text(good)

    assert [reply.status_code for reply in tries] == [503] * 6
    assert all("the file of users has a mistake" in reply.text for reply in tries)
    assert str(users) not in tries[0].text
    (said,) = [each.getMessage() for each in caplog.records if "nobody is let in" in each.msg]
    assert f"{users}:1: write NAME:ROLE:HASH" in said
    assert PASSWORD not in tries[0].text
    assert enter(site.app, name="vera", password=PASSWORD).status_code == 303


def test_many_logins_leave_threads_for_pages(make_app: Callable[..., WebView]) -> None:
    """One more than are checked at once is told to come again."""
    checks, goes_on = threading.Semaphore(0), threading.Event()

    class Slow(Loopback):
        def check(self, _: Mapping[str, str]) -> str:
            """Wait for the test."""
            checks.release()
            goes_on.wait(20)
            return "ada"

    app = make_app(Slow(Signer(), "ada", lambda _: None))
    with ThreadPoolExecutor(MOST_CHECKS) as people:
        waiting = [people.submit(enter, app) for _ in range(MOST_CHECKS)]
        assert all(checks.acquire(timeout=20) for _ in waiting)
        refused = enter(app, next="/flows")
        goes_on.set()

    assert (refused.status_code, "try again" in refused.text) == (429, True)
    assert 'value="/flows"' in refused.text
    assert {reply.result().status_code for reply in waiting} == {303}


def test_a_change_of_the_users_file_counts_at_once(site: Site, users: Path) -> None:
    """A user who was taken out, or has another password, has no session any more."""
    otto, vera = site.browser("otto"), site.browser("vera")
    assert otto.get("/").status_code == vera.get("/").status_code == 200
    lines = users.read_text().splitlines()
    users.write_text(f"{lines[1].replace('viewer', 'operator')}\notto:operator:{hashed('another')}")

    assert otto.get("/").status_code == 303
    assert vera.get("/").status_code == 200
    assert "vera, operator" in vera.get("/").text
    users.write_text("vera")
    for _ in range(2):
        assert vera.get("/").status_code == 503
    users.unlink()
    assert vera.get("/").status_code == 503


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no users"),
        ("vera", ":1: write NAME:ROLE:HASH"),
        ("vera:boss:scrypt$16384$8$1$AA==$AA==", "viewer or operator"),
        ("vera:viewer:secret", "is no hash"),
        ("vera:viewer:scrypt$2$8$1$AA==$AA==", "is no hash"),
        ("a:viewer:scrypt$16384$8$1$AA==$AA==\na:viewer:scrypt$16384$8$1$AA==$AA==", ":2: .*twice"),
    ],
)
def test_a_wrong_users_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """With the number of the line."""
    file = tmp_path / "users"
    file.write_text(text)

    with pytest.raises(WrongSetting, match=words):
        UsersFile(Signer(), file)


def test_groups_stand_behind_the_role(users: Path) -> None:
    """They are for the forms that only some may fill in."""
    line = read_users(users)["otto"]

    assert line.user == User(name="otto", role="operator", groups=("finance",))


def test_a_hash_is_of_one_password() -> None:
    """And two hashes of it differ."""
    one, two = hashed("blå bær"), hashed("blå bær")

    assert one != two
    assert is_hash(one)
    assert (matches("blå bær", one), matches("bla baer", one)) == (True, False)


PROXY = ("10.1.2.3", 4711)


def asked(way: ProxyHeader, peer: Any = PROXY, **headers: str) -> User | None:
    """The user of a request from a peer with these headers."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return way({"type": "http", "client": peer, "headers": pairs})


def test_a_header_counts_only_from_the_proxy() -> None:
    """From another peer, or doubled, or empty, it names nobody."""
    way = ProxyHeader("X-User", ["10.1.2.0/24", "::1"])

    assert asked(way, x_user="ada") == User(name="ada", role="operator")
    assert asked(way, ("::ffff:10.1.2.3", 1), x_user="ada") == User(name="ada", role="operator")
    for peer in (("10.1.3.3", 1), ("127.0.0.1", 1), ("::2", 1), None, ("", 0), ("unix", 0)):
        assert asked(way, peer, x_user="ada") is None
    assert asked(way, x_user="") is None
    assert asked(way) is None
    assert asked(way, x_user="a\x1b[31m") is None
    doubled = [(b"x-user", b"ada"), (b"x-user", b"otto")]
    assert way({"type": "http", "client": PROXY, "headers": doubled}) is None


def test_roles_come_from_a_header() -> None:
    """One without either role is not admitted."""
    way = ProxyHeader("X-User", ["10.1.2.3"], roles_header="X-Roles")

    assert asked(way, x_user="ada", x_roles="operator, finance") == User(
        name="ada", role="operator", groups=("finance",)
    )
    assert asked(way, x_user="ada", x_roles="viewer") == User(name="ada", role="viewer")
    for roles in ("", "finance", "Operator"):
        assert asked(way, x_user="ada", x_roles=roles) is None
    assert asked(way, x_user="ada") is None


def test_a_foreign_peer_is_refused(make_app: Callable[..., WebView]) -> None:
    """With the header, and whatever it forwards; there is no login page to go to."""
    app = make_app(ProxyHeader("X-User", ["10.1.2.3"]))
    headers = {"x-user": "ada", "x-forwarded-for": "10.1.2.3", "forwarded": "for=10.1.2.3"}

    foreign = browser(app, client=("10.9.9.9", 1)).get("/events", headers=headers)
    trusted = browser(app, client=PROXY).get("/events", headers=headers)

    assert (foreign.status_code, trusted.status_code) == (401, 400)
    assert browser(app, client=PROXY).get("/").status_code == 401
    assert browser(app, client=PROXY).get("/login").status_code == 401


@pytest.mark.parametrize("network", ["", "10.0.0.0/33", "proxy.example", "10.0.0.1/24"])
def test_a_wrong_network_is_refused(network: str) -> None:
    """A name could mean any address tomorrow."""
    with pytest.raises(WrongSetting, match="--trusted-proxy"):
        ProxyHeader("X-User", [network])


def test_a_key_is_kept_for_its_owner(tmp_path: Path) -> None:
    """The same one the next time; a folder that cannot be written keeps none."""
    folder = tmp_path / ".pgflow"
    key = key_in(folder)

    assert key is not None
    assert key_in(folder) == key
    assert stat.S_IMODE((folder / "ui.key").stat().st_mode) == 0o600
    assert (folder / ".gitignore").read_text() == "*\n"
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "ui.key"]
    (folder / "ui.key").write_text("no key")
    assert key_in(folder) is None
    assert key_in(tmp_path / "none" / "there") is None
