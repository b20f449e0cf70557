"""The key `retention` and the setting of the same name: how long ended runs are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.language import validation
from pgflow_yaml.language.compiler import compile_flow
from pgflow_yaml.project.files import schema
from pgflow_yaml.project.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from pgflow_yaml.language.model import Definition
    from pgflow_yaml.language.validation import Checked

DAY = 86_400_000
TIMES = [
    ("30d", {"completed": 30 * DAY, "failed": 30 * DAY}),
    ("off", {"completed": None, "failed": None}),
    ("3600", {"completed": DAY // 24, "failed": DAY // 24}),
    ("3650d", {"completed": 3650 * DAY, "failed": 3650 * DAY}),
]


def checked(retention: str) -> Checked:
    text = f"flow: a\nretention: {retention}\nsteps: {{b: {{handler: app.b}}}}\n"
    return validation.check(text.encode(), file="a.yaml", schema=schema())


def compiled(retention: str) -> Definition:
    return compile_flow(checked(retention).require())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        *TIMES,
        ("{completed: 7d, failed: off}", {"completed": 7 * DAY, "failed": None}),
        ("{failed: 90d}", {"failed": 90 * DAY}),
        ("{}", {}),
    ],
)
def test_a_flow_says_how_long_its_runs_are_kept(text: str, kept: dict[str, int | None]) -> None:
    """In one word or by status; it is no part of the version."""
    definition = compiled(text)

    assert definition.retention == kept
    assert "retention" not in definition.body
    assert definition.version == compiled("1d").version


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("false", "must be a duration, `off` or a mapping, not a boolean; write `retention: off`"),
        ("[7d]", "must be a duration, `off` or a mapping, not a list; write 30d, or off"),
        ("a week", "neither a duration nor `off`; write 30d, or off"),
        ("never", "neither a duration nor `off`; write off"),
        ("{failed: no}", "neither a duration nor `off`; write off"),
        ("99999d", "is longer than 36,500 days; write off, to keep runs for ever"),
        ("{failed: 99999d}", "is longer than 36,500 days; write off, to keep runs for ever"),
        ("9999999999", "must be at most 36500 days, not 9999999999; write 36500d or less"),
        ("-1", "must be at least 0 seconds, not -1; write 0 or more"),
    ],
)
def test_another_retention_is_refused(text: str, words: str) -> None:
    """With what to write instead."""
    (finding,) = checked(text).diagnostics

    assert f"{finding.message}; {finding.help}".endswith(words)


@pytest.mark.parametrize(("text", "kept"), TIMES)
def test_a_project_says_it_for_all_its_flows(
    tmp_path: Path, text: str, kept: dict[str, int | None]
) -> None:
    """In pyproject.toml or in the environment."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.pgflow-yaml]\nretention = "{text}"\n')

    assert read_settings(tmp_path, flags={}, environ={}).retention == kept
    environ = {"PGFLOW_YAML_RETENTION": text}
    assert read_settings(tmp_path, flags={}, environ=environ).retention == kept


def test_a_project_says_it_by_status(tmp_path: Path) -> None:
    """In a table of its own."""
    (tmp_path / "pyproject.toml").write_text('[tool.pgflow-yaml.retention]\nfailed = "90d"\n')

    assert read_settings(tmp_path, flags={}, environ={}).retention == {"failed": 90 * DAY}


@pytest.mark.parametrize("value", ['"a week"', "false", '{cancelled = "1d"}', '"99999d"', "[1]"])
def test_another_setting_is_refused(tmp_path: Path, value: str) -> None:
    """By one sentence that names the file."""
    (tmp_path / "pyproject.toml").write_text(f"[tool.pgflow-yaml]\nretention = {value}\n")

    with pytest.raises(WrongSetting, match=r"pyproject\.toml: retention is a time such as"):
        read_settings(tmp_path, flags={}, environ={})
