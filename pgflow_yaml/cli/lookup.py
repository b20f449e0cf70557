"""Look-up by the text of an argument: as in the client, and with a hint where it names a file."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from pgflow_yaml.errors import NotFound, WrongSetting
from pgflow_yaml.project.files import is_file, is_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgflow_yaml.client import Client, FlowSummary, StoredVersion


@contextmanager
def usage_errors() -> Iterator[None]:
    """Report an argument that means nothing, or too much, as wrong usage of the command."""
    try:
        yield
    except WrongSetting as error:
        raise click.UsageError(error.message) from None


def run_id(client: Client, text: str) -> str:
    """Return the id of a run by its id, `last`, its key, or the beginning of its id."""
    from pgflow_yaml.client import lookup

    try:
        with usage_errors():
            return lookup.run_id(client, text)
    except NotFound:
        if not is_file(text):
            raise
        raise NotFound(
            f'there is no run "{text}"; '
            f"that is a file, and `pgflow-yaml run {text}` starts a run of it"
        ) from None


def active(client: Client, flow: str) -> StoredVersion:
    """Return the active version of a flow; raises NotFound with a similar name."""
    from pgflow_yaml.client import lookup

    try:
        return lookup.active(client, flow)
    except NotFound:
        must_be_flow(client.list_flows(counts=False), flow)
        raise


def version(client: Client, flow: str, text: str) -> str:
    """Return the version of a flow that begins with a text."""
    from pgflow_yaml.client import lookup

    try:
        with usage_errors():
            return lookup.version(client, flow, text)
    except NotFound:
        must_be_flow(client.list_flows(counts=False), flow)
        raise


def must_be_flow(flows: Sequence[FlowSummary], name: str) -> None:
    """Raise NotFound with a similar name unless the database has this flow."""
    from pgflow_yaml.client import lookup

    try:
        lookup.must_be_flow(flows, name)
    except NotFound:
        kind = "folder" if is_folder(name) else "file" if is_file(name) else None
        if kind is None:
            raise
        raise NotFound(
            f'"{name}" is a {kind}, not the name of a flow; `pgflow-yaml flows` lists them'
        ) from None
