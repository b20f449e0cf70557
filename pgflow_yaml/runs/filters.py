"""The filters of runs, for every list and every command that takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping


class FailureFilters(TypedDict, total=False):
    """Conditions that failures must all meet; one that is absent or None is met by each.

    Times are those of the failures.
    """

    flow: str | None
    version: str | None  # the beginning of one
    since: float | None  # in the last so many seconds
    older: float | None  # more than so many seconds ago
    labels: Mapping[str, str] | None  # all of these
    error: str | None  # a text in the type or the message of the error
    step: str | None


class RunFilters(TypedDict, total=False):
    """Conditions that runs must all meet; one that is absent or None is met by every run."""

    flow: str | None
    version: str | None  # the beginning of one
    status: str | None  # or "waiting": started, but no step has a task for a worker
    since: float | None  # created in the last so many seconds
    older: float | None  # created more than so many seconds ago
    labels: Mapping[str, str] | None  # all of these
    parent: str | None  # the id of the run whose step started it
    schedule: str | None  # the beginning of the name of the schedule that started it
    error: str | None  # a text in the type or the message of its error
    children: bool  # child runs too
