"""Settings from flags, environment and pyproject.toml; files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgflow_yaml import InvalidFlow, NotFound, check, load
from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.project.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

VALID = "flow: one\nsteps:\n  go: {handler: shop.go}\n"


def settings(folder: Path, /, environ: dict[str, str] | None = None, **flags: Any) -> Any:
    return read_settings(folder, flags=flags, environ=environ or {})


def pyproject(folder: Path, text: str) -> None:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    """And each value says where it came from."""
    pyproject(tmp_path, "[tool.pgflow-yaml]\nconcurrency = 2\nlease = 5\nallow = ['shop']\n")
    environ = {"PGFLOW_YAML_CONCURRENCY": "3", "PGFLOW_YAML_LEASE": "6"}

    found = settings(tmp_path, environ, lease=7)

    assert (found.lease, found.concurrency, found.allow) == (7, 3, ("shop",))
    assert found.app_dir == tmp_path
    assert found.sources == {
        "lease": "--lease",
        "concurrency": "PGFLOW_YAML_CONCURRENCY",
        "allow": str(tmp_path / "pyproject.toml"),
        "app_dir": "default",
        "handlers": "default",
        "notify": "default",
        "secrets": "default",
        "logs": "default",
        "prefix": "default",
        "retention": "default",
        "ui_url": "default",
    }


@pytest.mark.parametrize(
    ("lease", "seconds"), [("30s", 30), ("45", 45), ("1.5m", 90), (" 1500ms ", 1.5), (6, 6)]
)
def test_a_lease_is_a_duration_wherever_it_is_said(
    tmp_path: Path, lease: object, seconds: float
) -> None:
    """As on the command line and in flow files: a unit, or seconds."""
    pyproject(tmp_path, f"[tool.pgflow-yaml]\nlease = {lease!r}\n")

    assert settings(tmp_path).lease == seconds
    assert settings(tmp_path, {"PGFLOW_YAML_LEASE": str(lease)}).lease == seconds


@pytest.mark.parametrize(("said", "means"), [("off", False), ("0", False), ("On", True)])
def test_wake_ups_are_switched_by_a_word(tmp_path: Path, said: str, means: bool) -> None:  # noqa: FBT001
    """On unless it is said; a flag wins."""
    assert settings(tmp_path).notify
    assert settings(tmp_path, {"PGFLOW_YAML_NOTIFY": said}).notify is means
    found = settings(tmp_path, {"PGFLOW_YAML_NOTIFY": "on"}, notify=False)
    assert (found.notify, found.sources["notify"]) == (False, "--no-notify")


def test_the_next_pyproject_upwards_counts(tmp_path: Path) -> None:
    """A folder in it is meant from where the file is."""
    pyproject(tmp_path, "[tool.pgflow-yaml]\napp-dir = 'src'\n")
    (tmp_path / "deep" / "down").mkdir(parents=True)

    assert settings(tmp_path / "deep" / "down").app_dir == tmp_path / "src"


def test_prefixes_may_be_one_text(tmp_path: Path) -> None:
    """In the environment there are no lists."""
    environ = {"PGFLOW_YAML_ALLOW": "shop, lib.tasks"}

    assert settings(tmp_path, environ).allow == ("shop", "lib.tasks")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[tool.pgflow-yaml", "cannot be read"),
        ("[tool]\npgflow-yaml = 3\n", "is not a table"),
        ("[tool.pgflow-yaml]\nconcurrency = 'many'\n", "many is not a positive number"),
        ("[tool.pgflow-yaml]\nconcurrency = 1.5\n", "1.5 is not a whole number"),
        ("[tool.pgflow-yaml]\nlease = 0.0\n", "0 is not a positive number"),
        ("[tool.pgflow-yaml]\nlease = -1\n", "-1 is not a positive number"),
        ("[tool.pgflow-yaml]\nlease = '30 parsecs'\n", "30 parsecs is not a positive number"),
        ("[tool.pgflow-yaml]\nnotify = 'maybe'\n", '"maybe" is neither on nor off'),
        ("[tool.pgflow-yaml]\nprefix = 'maybe'\n", '"maybe" is neither on nor off'),
        ("[tool.pgflow-yaml]\nlogs = 'none'\n", 'one of both, database, worker, not "none"'),
        ("[tool.pgflow-yaml]\nallow = [1]\n", "allow is a list of module names"),
    ],
)
def test_a_wrong_setting_is_told_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    """The file is named."""
    pyproject(tmp_path, text)

    with pytest.raises(WrongSetting, match=sentence) as wrong:
        settings(tmp_path)

    assert "pyproject.toml" in str(wrong.value)


def test_a_file_is_loaded_or_all_its_mistakes_are_raised(tmp_path: Path) -> None:
    """`load` compiles, `check` lists."""
    file = tmp_path / "one.yaml"
    file.write_text(VALID, encoding="utf-8")
    assert check(file) == []
    assert load(file).name == "one"

    file.write_text("flow: One Two\nsteps:\n  go: {handlr: shop.go}\n", encoding="utf-8")
    with pytest.raises(InvalidFlow) as invalid:
        load(file)

    assert list(invalid.value.diagnostics) == check(file)
    assert len(check(file)) >= 2


def test_a_misspelt_file_is_answered_with_the_nearest(tmp_path: Path) -> None:
    """NotFound suggests the flow files beside it."""
    (tmp_path / "order.yaml").write_text(VALID, encoding="utf-8")

    with pytest.raises(NotFound, match=r'did you mean "order.yaml"'):
        load(tmp_path / "ordr.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """One sentence, no traceback."""
    with pytest.raises(NotFound, match="is a folder"):
        load(tmp_path)
