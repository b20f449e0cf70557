"""A client of pgflow's own functions: two statements to claim, one to report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

if TYPE_CHECKING:
    import psycopg

Row = dict[str, Any]
LIVE = """select t.message_id from pgflow.step_tasks t
  where t.queue_name = %s and t.status in ('queued', 'started') and t.permanently_stalled_at is null
  order by 1"""


class Door:
    """One client of pgflow on one connection; a worker of it is known to the database."""

    def __init__(self, db: psycopg.Connection) -> None:
        self.db = db
        self.worker = str(
            self.one(
                """insert into pgflow.workers (worker_id, queue_name, function_name)
                values (gen_random_uuid(), 'any', 'tests') returning worker_id"""
            )
        )

    def rows(self, query: str, *arguments: object) -> list[Row]:
        """All rows, by the names of their columns."""
        with self.db.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), arguments).fetchall()

    def one(self, query: str, *arguments: object) -> Any:
        """The first column of the first row; None where there is no row."""
        row = self.db.execute(query.encode(), arguments).fetchone()
        return row[0] if row else None

    def column(self, query: str, *arguments: object) -> list[Any]:
        """The first column of all rows."""
        return [row[0] for row in self.db.execute(query.encode(), arguments).fetchall()]

    def flow(self, slug: str, **steps: Row) -> str:
        """Make a flow of these steps, in this order; each is add_step's arguments by name."""
        self.one("select pgflow.create_flow(%s)", slug)
        for step, options in steps.items():
            named = "".join(f", {name} => %s" for name in options)
            values = [json.dumps(v) if isinstance(v, dict) else v for v in options.values()]
            self.one(f"select pgflow.add_step(%s, %s{named})", slug, step, *values)
        return slug

    def start(self, slug: str, run_input: object = None) -> str:
        """Start a run; its id."""
        query = "select run_id from pgflow.start_flow(%s, %s)"
        return str(self.one(query, slug, json.dumps({} if run_input is None else run_input)))

    def claim(self, slug: str, quantity: int = 100) -> list[Row]:
        """Read messages that are visible and claim their tasks."""
        return self.rows(
            """select * from pgflow.start_tasks(
              %s, array(select msg_id from pgmq.read(%s, 5, %s)), %s)""",
            slug,
            slug,
            quantity,
            self.worker,
        )

    def complete(self, task: Row, output: object = None) -> Row:
        """Complete a claimed task; its row."""
        return self.report("complete_task", task, None if output is None else json.dumps(output))

    def fail(self, task: Row, message: str = "broke") -> Row:
        """Fail a claimed task; its row."""
        return self.report("fail_task", task, message)

    def report(self, function: str, task: Row, argument: object) -> Row:
        """Call complete_task or fail_task; the one row it returns."""
        (row,) = self.rows(
            f"select * from pgflow.{function}(%s, %s, %s, %s)",
            task["run_id"],
            task["step_slug"],
            task["task_index"],
            argument,
        )
        return row

    def work(self, slug: str, output: object = None) -> list[str]:
        """Complete everything that can be claimed now, with this output; the steps in order."""
        done: list[str] = []
        while tasks := self.claim(slug):
            for task in tasks:
                self.complete(task, output)
                done.append(task["step_slug"])
        return done

    def run(self, run: str) -> Row:
        """The run's row."""
        (row,) = self.rows("select * from pgflow.runs where run_id = %s", run)
        return row

    def status(self, run: str) -> str:
        """The run's status."""
        return str(self.run(run)["status"])

    def step(self, run: str, slug: str) -> Row:
        """One step state's row."""
        query = "select * from pgflow.step_states where run_id = %s and step_slug = %s"
        (row,) = self.rows(query, run, slug)
        return row

    def statuses(self, run: str) -> dict[str, str]:
        """Each step's status, in the order of the flow."""
        query = """select s.step_slug, s.status from pgflow.step_states s
          join pgflow.steps d using (flow_slug, step_slug)
          where s.run_id = %s order by d.step_index"""
        return dict(self.db.execute(query, [run]).fetchall())

    def tasks(self, run: str, step: str) -> list[Row]:
        """The tasks of a step, in order."""
        query = """select * from pgflow.step_tasks where run_id = %s and step_slug = %s
          order by task_index"""
        return self.rows(query, run, step)

    def counts(self, slug: str) -> tuple[int, int]:
        """How many messages are in the queue, how many in its archive."""
        queue, archive = (
            self.one(f"select count(*) from pgmq.{kind}_{slug}") for kind in ("q", "a")
        )
        return queue, archive

    def violations(self) -> list[Any]:
        """What breaks the invariants, and where a flow's queue is not exactly its live tasks."""
        found: list[Any] = self.rows("select * from pgflow.violations()")
        for queue in self.column("select queue_name from pgflow.flows where origin = 'pgflow'"):
            if self.one("select to_regclass(%s) is not null", f"pgmq.q_{queue}"):
                messages = self.column(f"select msg_id from pgmq.q_{queue} order by 1")
                live = self.column(LIVE, queue)
                found += [(queue, messages, live)] if messages != live else []
        return found


def deps(*slugs: str, **options: Any) -> Row:
    """The arguments of add_step for a step with these dependencies."""
    return {"deps_slugs": list(slugs)} | options


def a_map(*slugs: str, **options: Any) -> Row:
    """The arguments of add_step for a map."""
    return deps(*slugs, step_type="map", **options)
