"""A database that fails at one queue or one row: the worker serves all others (R-5, T21)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgflow_yaml.worker import queues
from pgflow_yaml.worker.turn import TurnClient
from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg
    import pytest

    from pgflow_yaml.worker.task import Task
    from tests.fixtures.working import Works

ONE = "flow: {name}\nsteps:\n  go: {{handler: shop.go}}\n"


def begin(works: Works) -> tuple[str, str]:
    """Start a run of a flow that will complete, and one of a flow that will not."""
    works.app.write("shop.py", "def go(input): return 1\n")
    good, bad = (works.client.start(works.deploy(ONE.format(name=n))).id for n in ("good", "bad"))
    return good, bad


def refuse_claims(db: psycopg.Connection, flow: str) -> None:
    """Make it impossible to start tasks of a flow."""
    db.execute(
        f"""
        create function public.fault() returns trigger language plpgsql as $$
        begin
          if new.status = 'started' and new.flow_slug like '{flow}%' then
            raise exception using errcode = '55000', message = 'injected';
          end if;
          return new;
        end $$
        """.encode()
    )
    db.execute(
        "create trigger fault before update on pgflow.step_tasks "
        "for each row execute function public.fault()"
    )


def test_a_queue_that_cannot_be_claimed_from_is_paused(
    works: Works,
    db: psycopg.Connection,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others are served at once, again and again; it is logged once, and tried again later."""
    monkeypatch.setattr(queues, "_PAUSED_SECONDS", 4.0)
    good, bad = begin(works)
    refuse_claims(db, "bad")
    works.start()

    assert works.ended(good).status == "completed"
    for _ in range(5):
        assert works.ended(works.client.start("good").id).status == "completed"
    paused = [message for message in caplog.messages if "is paused" in message]
    assert len(paused) == 1
    assert paused[0].startswith("queue bad")
    assert "injected" in paused[0]
    db.execute("drop trigger fault on pgflow.step_tasks")

    assert works.ended(bad).status == "completed"


def test_tasks_that_are_too_large_for_one_reply_are_claimed_one_by_one(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The arguments of all exceed what a value of the database can hold; those of one do not."""
    works.app.write("shop.py", "def go(input): return 1\n")
    works.deploy(ONE.format(name="large"))
    runs = [works.client.start("large").id for _ in range(3)]
    db.execute(
        """
        create function public.fault() returns trigger language plpgsql as $$
        begin
          if (select count(*) from claimed c where c.status = 'started') > 1 then
            raise exception using errcode = '54000', message = 'too large';
          end if;
          return null;
        end $$;
        create trigger fault after update on pgflow.step_tasks
        referencing new table as claimed for each statement execute function public.fault()
        """
    )
    works.start()

    assert [works.ended(run).status for run in runs] == ["completed"] * 3
    assert "is paused" not in caplog.text


def test_a_task_without_its_step_does_not_end_the_worker(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out and logged; the worker goes on with the others."""
    good, _ = begin(works)
    db.execute("alter function pgflow._contexts(pgflow._step[]) rename to _contexts_whole")
    db.execute(
        """
        create function pgflow._contexts(p_steps pgflow._step[]) returns jsonb language sql as $$
          select found || jsonb_build_object('specs', (
            select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(found -> 'specs')
            where key not like 'bad%'))
          from pgflow._contexts_whole(p_steps) found
        $$
        """
    )

    works.start()

    eventually(lambda: "/go/0 cannot be read: KeyError: 'bad" in caplog.text)
    assert works.ended(good).status == "completed"
    assert works.ended(works.client.start("good").id).status == "completed"


def test_a_run_that_cannot_even_be_failed_ends_no_worker(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the worker goes on with the others (R-5, S-20)."""
    good, bad = begin(works)
    db.execute(
        """
        create function public.fault() returns trigger language plpgsql as $$
        begin
          if new.status in ('completed', 'failed') and new.flow_slug like 'bad%' then
            raise exception using errcode = '22000', message = 'injected';
          end if;
          return new;
        end $$;
        create trigger fault before update on pgflow.step_tasks
        for each row execute function public.fault();
        alter function pgflow._fail_live_run(uuid, jsonb) rename to _fail_live_run_whole;
        create function pgflow._fail_live_run(p_run_id uuid, p_error jsonb) returns boolean
        language plpgsql as $$
        begin
          raise exception using errcode = '22000', message = 'injected as well';
        end $$
        """
    )

    works.start()

    eventually(lambda: "cannot be failed either" in caplog.text)
    assert works.ended(good).status == "completed"
    assert works.ended(works.client.start("good").id).status == "completed"
    assert works.client.get(bad).status == "started"


def test_a_worker_whose_row_was_deleted_registers_again(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has tidied up: its next claim works, and pauses no queue."""
    begin(works)
    worker = works.start()
    registered = "select count(*) from pgflow.workers where worker_id = %s and stopped_at is null"
    eventually(lambda: db.execute(registered, [worker.id]).fetchone() == (1,))

    db.execute("delete from pgflow.workers")

    eventually(lambda: db.execute(registered, [worker.id]).fetchone() == (1,))
    assert works.ended(works.client.start("good").id).status == "completed"
    assert "paused" not in caplog.text


def test_a_step_without_a_handler_is_left_until_it_counts_as_crashed(
    works: Works, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Given back, its task would come again at once, before all others, for ever."""
    good, bad = begin(works)
    db.execute("update pgflow.steps set handler = null where flow_slug like 'bad%'")
    works.start()

    assert works.ended(good).status == "completed"
    eventually(lambda: "its handler is None, not a text" in caplog.text)
    claims = "select attempts_count from pgflow.step_tasks where run_id = %s"
    assert db.execute(claims.encode(), [bad]).fetchone() == (1,)


def test_a_bad_row_slows_no_queue_down(
    works: Works, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks before it are claimed one by one, in one turn: others have many queues to ask."""
    works.app.write("shop.py", "def go(input): return 1\n")
    name = works.deploy(ONE.format(name="flow"))
    runs = [works.client.start(name).id for _ in range(20)]
    db.execute(
        "update pgflow.step_tasks set attempts_count = 2147483647 where run_id = %s", [runs[-1]]
    )
    claimed: list[int] = []
    whole = TurnClient.turn

    def turn(client: TurnClient, results: list[Task], room: int) -> list[Task]:
        tasks = whole(client, results, room)
        claimed.append(len(tasks))
        return tasks

    monkeypatch.setattr(TurnClient, "turn", turn)

    works.drain(concurrency=30)

    statuses = [works.client.get(run).status for run in runs]
    assert statuses == ["completed"] * 19 + ["failed"]
    assert claimed[0] == 19
