"""Watch: serve pages about runs for a browser."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgflow_yaml.cli.options import Options, command, pass_options
from pgflow_yaml.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgflow_yaml.client import Client
    from pgflow_yaml.web.access import Authorize

PORT = 8420


@command("ui", example="pgflow-yaml ui --read-only")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port to listen on; 0 for any free port.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--users",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Users who log in with a password: a file of NAME:ROLE:HASH lines. A viewer looks, an "
    "operator acts, too.",
)
@click.option(
    "--auth-header", metavar="NAME", help="Header in which a trusted proxy names the user."
)
@click.option(
    "--trusted-proxy",
    "proxies",
    metavar="NETWORK",
    multiple=True,
    help="With --auth-header: address or network of the proxy (may be repeated).",
)
@click.option(
    "--roles-header",
    metavar="NAME",
    help="With --auth-header: header with viewer or operator, and groups. [default: all operators]",
)
@click.option("--read-only", is_flag=True, help="Only show: no page can change anything.")
@click.option(
    "--hooks", is_flag=True, help="Let signed requests to /hooks/FLOW start flows with `webhook`."
)
@click.option(
    "--secrets",
    metavar="DIR or FILE",
    type=click.Path(exists=True, path_type=Path),
    help="With --hooks: a folder with a file for each secret, or a file of NAME=value lines. "
    "[default: the variables PGFLOW_YAML_SECRET_NAME]",
)
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Name under which browsers know this server (may be repeated).",
)
@click.option(
    "--secure/--no-secure",
    default=None,
    help="Let browsers send cookies over https only, as a proxy with TLS in front has it. "
    "[default: --secure for users of other machines: with --host, and with --allow-host beside "
    "--users or --auth-header]",
)
@click.option(
    "--hash", "hashes", is_flag=True, help="Hash a password for a line of --users, then stop."
)
@pass_options
def ui_command(options: Options, /, *, hashes: bool, host: str, **given: Any) -> None:
    """Serve pages about runs for a browser: what waits and why, live, with actions.

    It needs the extra `ui`. On this machine, the link that is printed logs one person in, once. To
    let others in, name their users by --users, or the proxy that knows them by --auth-header.
    """
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("jinja2", "starlette", "uvicorn")):
        raise Unavailable("the web view needs: pip install 'pgflow-yaml[ui]'")
    if hashes:
        _write_hash()
        return
    _check(host, given)
    from pgflow_yaml.cli.database import database

    with database(options, notify=True) as client:
        _serve(client, options, host, given)


def _check(host: str, given: dict[str, Any]) -> None:
    """Raise UsageError unless the options name one way in, which suits the address."""
    header, proxies = given["auth_header"], given["proxies"]
    if given["hooks"] and given["read_only"]:
        raise click.UsageError("--hooks starts runs: it does not go with --read-only")
    if given["secrets"] and not given["hooks"]:
        raise click.UsageError("--secrets needs --hooks: they are the secrets of webhooks")
    if given["users"] and header:
        raise click.UsageError("write either --users or --auth-header")
    if header and not proxies:
        raise click.UsageError(
            "--auth-header needs --trusted-proxy: without it, everybody may name himself"
        )
    if not header and (proxies or given["roles_header"]):
        raise click.UsageError("--trusted-proxy and --roles-header need --auth-header")
    if not (given["users"] or header or is_loopback(host)):
        raise click.UsageError(
            f"--host {host} lets other machines in: add --users FILE, or --auth-header with "
            "--trusted-proxy"
        )


def is_loopback(host: str) -> bool:
    """Return true for an address that only this machine reaches."""
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_one(host: str) -> bool:
    """Return true for a name or an address that is not "all of this machine's"."""
    return host not in ("", "0.0.0.0", "::")  # noqa: S104 (it is refused)


def is_secure(host: str, given: Mapping[str, Any]) -> bool:
    """Return true if cookies go over https only: not on this machine, whose link has http."""
    if given["secure"] is not None:
        return bool(given["secure"])
    return not is_loopback(host) or bool(
        given["hosts"] and (given["users"] or given["auth_header"])
    )


def address_of(host: str, port: int) -> str:
    """Return the address of the pages on this machine; one for "all addresses" is no address."""
    host = host if is_one(host) else "::1" if host == "::" else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _serve(client: Client, options: Options, host: str, given: dict[str, Any]) -> None:
    from secrets import token_bytes

    from pgflow_yaml.cli.database import reading_database
    from pgflow_yaml.project.database import project_dir
    from pgflow_yaml.project.settings import local_settings
    from pgflow_yaml.web.access.signing import KEY_BYTES, key_in
    from pgflow_yaml.web.app import create_app
    from pgflow_yaml.web.server import listen, serve
    from pgflow_yaml.worker.calls import Secrets

    host = host.strip("[]")
    with listen(host, given["port"]) as opened:
        name = f"[{host}]" if ":" in host else host
        address = address_of(host, opened.getsockname()[1])
        secure = is_secure(host, given)
        key = key_in(project_dir(Path.cwd()) / ".pgflow") or token_bytes(KEY_BYTES)
        announce = _announcer(options, opens=given["opens"])
        authorize = _way_in(key, address, announce, given)
        app = create_app(
            client,
            authorize=authorize,
            read_only=given["read_only"],
            allow_hosts=[*given["hosts"], *([name] if is_one(host) else [])],
            key=key,
            secure=secure,
            hooks=Secrets(local_settings(secrets=given["secrets"]).secrets)
            if given["hooks"]
            else None,
            link_key=_link_key(),
            reading=reading_database(options),
        )
        if secure and given["secure"] is None:
            options.note("cookies go over https only: without TLS in front, add --no-secure")
        options.note("Ctrl-C stops it")
        serve(app, opened)


def _link_key() -> bytes | None:
    """Return the key of links to approvals; None where it can neither be read nor kept.

    Raises WrongSetting for one that somebody gave, and that is no good.
    """
    import os

    from pgflow_yaml.errors import WrongSetting
    from pgflow_yaml.project.link_key import VARIABLE, link_key

    try:
        return link_key(Path.cwd(), os.environ)
    except WrongSetting:
        if VARIABLE in os.environ:
            raise
        return None


def _way_in(
    key: bytes, address: str, announce: Callable[[str], None], given: dict[str, Any]
) -> Authorize:
    """Return the way in that the options name, and announce the page at its end."""
    import getpass

    from pgflow_yaml.web.access.loopback import Loopback
    from pgflow_yaml.web.access.proxy import ProxyHeader
    from pgflow_yaml.web.access.signing import Signer
    from pgflow_yaml.web.access.users import UsersFile

    way: Authorize
    if given["auth_header"]:
        way = ProxyHeader(
            given["auth_header"], given["proxies"], roles_header=given["roles_header"]
        )
    elif given["users"]:
        way = UsersFile(Signer(key), given["users"])
    else:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = "operator"
        loopback = Loopback(Signer(key), name, lambda token: announce(f"{address}/login#t={token}"))
        loopback.open()
        return loopback
    announce(f"{address}/")
    return way


def _announcer(options: Options, *, opens: bool) -> Callable[[str], None]:
    """Return a function that shows where the page is; the first time it may open a browser."""
    import json

    was_opened = not opens

    def announce(link: str) -> None:
        nonlocal was_opened
        sys.stdout.write((json.dumps({"url": link}) if options.json else link) + "\n")
        sys.stdout.flush()
        if not was_opened:
            import webbrowser

            was_opened = True
            webbrowser.open(link)

    return announce


def _write_hash() -> None:
    """Ask for a password, or read it from a pipe, and write its hash."""
    from pgflow_yaml.web.access.passwords import LONGEST_PASSWORD, hashed

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not 8 <= len(password) <= LONGEST_PASSWORD:
        raise click.UsageError(f"write a password of 8 to {LONGEST_PASSWORD:,} characters")
    sys.stdout.write(hashed(password) + "\n")
