"""Databases and routes of a project, as pyproject.toml has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgflow_yaml.errors import WrongSetting
from pgflow_yaml.project.databases import Databases, read_databases

if TYPE_CHECKING:
    from pathlib import Path

TWO = 'eu = "service=eu"\nus = {env = "US_URL"}\n'


def read(folder: Path, databases: str = TWO, routes: str = "{}") -> Databases:
    (folder / "pyproject.toml").write_text(
        f"[tool.pgflow-yaml]\nroutes = {routes}\n[tool.pgflow-yaml.databases]\n{databases}",
        encoding="utf-8",
    )
    return read_databases(folder)


def test_without_databases_every_flow_has_the_default_one(tmp_path: Path) -> None:
    """A project with no pyproject.toml has no others either."""
    databases = read_databases(tmp_path)

    assert databases.names == ["default"]
    assert databases.of_flow("order") == "default"


@pytest.mark.parametrize(
    ("flow", "name"),
    [
        ("order", "eu"),
        ("order_us", "us"),
        ("order_us_east", "eu"),
        ("order_us_west", "us"),
        ("bill", "default"),
        ("or", "default"),
    ],
)
def test_the_flows_own_route_wins_then_the_longest_beginning(
    tmp_path: Path, flow: str, name: str
) -> None:
    """The order of the routes in the file says nothing: a table of TOML has none."""
    routes = '{"order_us*" = "us", "order*" = "eu", "order_us_east" = "eu"}'

    assert read(tmp_path, routes=routes).of_flow(flow) == name


def test_a_star_alone_is_for_all_other_flows_and_one_may_stay_in_the_default(
    tmp_path: Path,
) -> None:
    """So a project may send all flows elsewhere but a few."""
    databases = read(tmp_path, routes='{"*" = "eu", "bill" = "default"}')

    assert [databases.of_flow(flow) for flow in ("order", "bill")] == ["eu", "default"]


def test_a_database_is_a_text_or_a_variable(tmp_path: Path) -> None:
    """The variable is read when the database is used: a machine may have only some of them."""
    databases = read(tmp_path)

    assert databases.conninfo("eu", {}) == "service=eu"
    assert databases.conninfo("us", {"US_URL": "service=us"}) == "service=us"
    with pytest.raises(WrongSetting, match='"us" is in the variable US_URL, which is not set'):
        databases.conninfo("us", {})


def test_an_unknown_name_is_refused_with_a_similar_one(tmp_path: Path) -> None:
    """Without any database of a name, with where they are named."""
    with pytest.raises(WrongSetting, match=r'no database "europ" in .*did you mean "europe"'):
        read(tmp_path, TWO + 'europe = "service=europe"').named("europ")
    with pytest.raises(WrongSetting, match=r"databases\] of pyproject.toml names none"):
        read(tmp_path, databases="").named("eu")


@pytest.mark.parametrize(
    ("databases", "routes", "problem"),
    [
        (
            TWO,
            '{"order" = "ue"}',
            'route "order": there is no database "ue"; [tool.pgflow-yaml.databases]',
        ),
        (TWO, '{"or*er" = "eu"}', 'route "or*er" is neither the name of a flow nor'),
        (TWO, '{"Order" = "eu"}', 'route "Order" is neither the name of a flow nor'),
        (TWO, '{"a__b" = "eu"}', 'route "a__b" is neither the name of a flow nor'),
        (TWO, '{"order" = {by = "label.a", to = ["eu"]}}', "a flow is not split over several"),
        (TWO, '["eu"]', "routes is a table"),
        ('default = "service=a"', "{}", "give this one another name"),
        ('EU = "service=a"', "{}", 'database "EU" is not a name'),
        ("eu = 5", "{}", 'database "eu" is a connection string'),
        ('eu = " "', "{}", 'database "eu" is a connection string'),
        ('eu = {url = "x"}', "{}", 'database "eu" is a connection string'),
        ('eu = "postgresql://a:secret@b/c"', "{}", 'database "eu" holds a password'),
        ("".join(f'd{n} = "service=a"\n' for n in range(9)), "{}", "9 databases are named"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_file(
    tmp_path: Path, databases: str, routes: str, problem: str
) -> None:
    """And it does not repeat a password."""
    with pytest.raises(WrongSetting) as caught:
        read(tmp_path, databases, routes)

    message = caught.value.message
    assert message.startswith(str(tmp_path / "pyproject.toml"))
    assert problem in message
    assert "secret" not in message
    assert "\n" not in message


def test_databases_must_be_a_table(tmp_path: Path) -> None:
    """The example in the sentence is one."""
    text = "[tool.pgflow-yaml]\ndatabases = 'service=eu'\n"
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")

    with pytest.raises(WrongSetting, match="databases is a table, such as"):
        read_databases(tmp_path)
