"""Databases that an unreleased version made: one sentence, and its command works as typed."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgflow_yaml.database import migrate
from pgflow_yaml.database.embedded.files import programs, server_paths
from pgflow_yaml.errors import SchemaMismatch
from tests.engine.driver import Engine, a_step

if TYPE_CHECKING:
    from pathlib import Path

# The tables and names that this version knows no more.
OLD = """
alter table pgflow.flows rename column origin to door;
update pgflow.migrations set sha256 = 'older' where name = '0001_tables.sql';
delete from pgflow.migrations where name ~ '^000[2-9]_';
update pgflow.migrations set name = regexp_replace(name, '/.*/', '/');
insert into pgflow.migrations (name, sha256, release) values ('0002_language.sql', 'x', '0.1.0');
select pgmq.create('pgflow__clock')"""


def advice(error: pytest.ExceptionInfo[SchemaMismatch]) -> str:
    """Return the first command of the sentence."""
    (command,) = re.findall(r"`([^`]+)`", str(error.value))[:1]
    return str(command)


def test_an_old_database_is_recreated_by_the_command_that_the_sentence_names(
    database: str, tmp_path: Path
) -> None:
    """Its queues stay behind with messages of tasks that are gone: new runs pass them."""
    with psycopg.connect(database, autocommit=True) as db:
        engine = Engine(db)
        engine.deploy("flow", {"a": a_step()})
        old = [engine.start("flow") for _ in range(3)]
        db.execute(OLD.encode())
    for refuses in (migrate.check, migrate.status, migrate.apply, migrate.dry_run_sql):
        with pytest.raises(SchemaMismatch, match="made by an unreleased version") as error:
            refuses(database)
    psql = programs(server_paths(tmp_path))

    subprocess.run(
        advice(error),
        shell=True,
        check=True,
        capture_output=True,
        env=os.environ | {"PATH": f"{psql}:{os.environ['PATH']}"},
    )
    applied = migrate.apply(database)

    assert applied[0] == "0001_tables.sql"
    with psycopg.connect(database, autocommit=True) as db:
        engine = Engine(db)
        engine.deploy("flow", {"a": a_step()})
        run = engine.start("flow")
        engine.work("flow")
        assert run not in old
        assert engine.status(run) == "completed"
        assert engine.one("select count(*) from pgmq.q_flow") == 0
