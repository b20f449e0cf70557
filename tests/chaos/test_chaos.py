"""200 runs of all kinds under 20 kill -9: nothing is lost, stuck or done twice (G1).

PGFLOW_YAML_SEED repeats the schedule of a storm; a failed test prints it.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.storm import Storm, Weather

if TYPE_CHECKING:
    from pathlib import Path

WEATHER = Weather(runs=200, kills=20, seconds=20, largest=10)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_storm_leaves_nothing_behind(database: str, tmp_path: Path) -> None:
    """Every run ends as its flow demands; the oracle finds nothing."""
    seed = int(os.environ.get("PGFLOW_YAML_SEED", "0")) or random.randrange(1, 10**9)
    print("PGFLOW_YAML_SEED =", seed)  # noqa: T201 (shown when the test fails)

    with Fleet(database, tmp_path, size=3) as fleet:
        storm = Storm(database, fleet, WEATHER, seed=seed, strikes={fleet.freeze: 5})
        after = storm.play()

    print(after)  # noqa: T201 (as above)
    assert after.faults == []
    assert after.kills >= WEATHER.kills
    assert after.crashes > 0, "no kill hit a running task"
