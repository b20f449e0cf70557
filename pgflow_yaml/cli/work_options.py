"""The options of commands that work on a run in this process and follow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgflow_yaml.project.settings import local_settings

from .options import optional_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pgflow_yaml.project.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions:
    """The time limit of following, and the options of the worker (`worker_options`)."""

    timeout: str | None
    concurrency: int | None
    app_dir: Path | None
    allow: Sequence[str]
    lease: str | None
    notify: bool | None
    secrets: Path | None
    prefix: bool | None

    def seconds(self) -> float | None:
        """Return the time limit in seconds; raise UsageError for one that is not a duration."""
        return optional_seconds(self.timeout, "--timeout")

    def worker_words(self) -> list[str]:
        """Return the options with which another worker finds the same handlers."""
        words = ["--app-dir", str(self.app_dir)] if self.app_dir else []
        words += [word for prefix in self.allow for word in ("--allow", prefix)]
        return [*words, *(["--secrets", str(self.secrets)] if self.secrets else [])]

    def settings(self) -> Settings:
        """Return the settings of the project, overridden by the options."""
        return local_settings(
            app_dir=self.app_dir,
            allow=self.allow,
            concurrency=self.concurrency,
            notify=self.notify,
            prefix=self.prefix,
            secrets=self.secrets,
            lease=optional_seconds(self.lease, "--lease"),
        )
