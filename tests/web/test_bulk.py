"""Cancel and retry what a filter finds: the number is agreed to, the rest goes on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fixtures.waiting import eventually

if TYPE_CHECKING:
    import psycopg
    from starlette.testclient import TestClient

    from tests.fixtures.working import Works
    from tests.web.conftest import Site


def ended(asking: TestClient, path: str) -> dict[str, object]:
    """What a change of many runs came to, once it has ended."""

    def look() -> dict[str, object] | None:
        found: dict[str, object] = asking.get(f"{path}.json").json()
        return found if found["ended"] else None

    found = eventually(look, seconds=60, what=f"{path} ends")
    assert found is not None
    return found


def test_the_runs_of_a_filter_are_cancelled(
    works: Works, site: Site, db: psycopg.Connection
) -> None:
    """Above a hundred, their number is written; those of other filters stay."""
    works.deploy("flow: order\nsteps:\n  a: {wait: {event: x}}\n")
    works.deploy("flow: other\nsteps:\n  a: {wait: {event: x}}\n")
    runs = works.client.start_many("order", [{}] * 101)
    other = works.client.start("other").id
    otto, path = site.browser("otto"), "/bulk/cancel?flow=order"
    assert path in otto.get("/?flow=order").text
    assert "/bulk/" not in otto.get("/").text
    assert "/bulk/" not in site.browser("vera").get("/?flow=order").text
    asked = otto.get(path).text
    assert "Cancel 101 runs" in asked
    assert "Write 101 to agree" in asked

    for typed in ({}, {"typed": "100"}, {"typed": "x"}, {"count": "101"}):
        assert site.post(otto, path, **typed).status_code == 409
    reply = site.post(otto, path, typed="101", reason="wrong <b>price")

    assert reply.status_code == 303
    found = ended(otto, reply.headers["location"])
    done: Any = found["runs"]
    assert {row["run_id"] for row in done if row["done"]} == set(runs)
    page = otto.get(reply.headers["location"]).text
    assert "101 of 101 runs cancelled" in page
    assert f'data-live="bulk:{reply.headers["location"].removeprefix("/bulk/")}"' in page
    assert works.client.get(other).status == "started"
    audit = "select distinct who, details->>'reason' from pgflow.audit where action = 'cancel'"
    assert db.execute(audit).fetchall() == [("otto", "wrong <b>price")]
    assert "finds no run that could be cancelled" in otto.get(path).text
    assert site.post(otto, path, typed="101").status_code == 409


def test_failed_runs_are_retried(works: Works, site: Site) -> None:
    """One that cannot be retried hinders none, and says why."""
    works.app.write("shop.py", "def pay():\n    raise ValueError('<b>no')\n")
    works.deploy("flow: pay\nsteps:\n  pay: {handler: shop.pay, retry: 1}\n")
    runs = [works.client.start("pay").id for _ in range(3)]
    works.drain()
    otto, path = site.browser("otto"), "/bulk/retry?status=failed&flow=pay"
    assert "/bulk/retry?" in otto.get("/?status=failed&flow=pay").text
    assert "3 runs" in otto.get(path).text
    job = site.app.state.jobs.start(
        "retry", [runs[0], "00000000-0000-4000-8000-000000000000"], _retry, by="otto"
    )
    found = ended(otto, f"/bulk/{job.id}")
    assert [row["done"] for row in found["runs"]] == [True, False]  # type: ignore[attr-defined]
    assert "1 of 2 runs retried, 1 refused" in otto.get(f"/bulk/{job.id}").text

    reply = site.post(otto, path, count="3")
    ended(otto, reply.headers["location"])
    assert [works.client.get(run).status for run in runs] == ["started"] * 3


def _retry(client: object, run: str) -> object:
    return client.retry(run)  # type: ignore[attr-defined]


def test_a_filter_is_needed(site: Site) -> None:
    """And one that finds runs which can be changed so; another address is none."""
    otto = site.browser("otto")
    assert "choose runs by a filter first" in otto.get("/bulk/cancel").text
    assert otto.get("/bulk/cancel?status=completed").status_code == 400
    assert otto.get("/bulk/retry?status=started").status_code == 400
    assert otto.get("/bulk/0123456789abcdef").status_code == 404
