"""Resources: their texts, what is lacking, and the gate before the slots."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pgflow_yaml.language import sizes
from pgflow_yaml.language.resources import key_of, lacking, of_key, parse, phrase
from pgflow_yaml.worker.resources import Gate

if TYPE_CHECKING:
    from pgflow_yaml.worker.task import Task


@pytest.mark.parametrize(
    ("text", "count"),
    [("512MB", 512_000_000), ("1.5GiB", 1_610_612_736), ("8 GB", 8_000_000_000), ("1kB", 1000)],
)
def test_sizes_have_units(text: str, count: int) -> None:
    assert sizes.byte_count(text) == count


@pytest.mark.parametrize("text", ["8", "8gb", "-1GB", "0GB", "8 G", "", "1e3MB"])
def test_texts_without_a_unit_or_an_amount_are_no_sizes(text: str) -> None:
    assert sizes.byte_count(text) is None


@pytest.mark.parametrize(
    ("text", "meant"), [("8gb", "8GB"), ("8 G", "8GB"), ("1.5gib", "1.5GiB"), ("512 K", "512kB")]
)
def test_what_is_probably_meant_by_a_size(text: str, meant: str) -> None:
    assert sizes.suggestion(text) == meant
    assert sizes.byte_count(meant)


def test_needs_in_words() -> None:
    assert phrase({"gpus": 1}) == "1 gpu"
    assert phrase({"gpus": 2, "memory": 8e9}) == "2 gpus and 8GB of memory"
    assert phrase({"cpus": 1, "memory": 2**29, "tpu": 0.5}) == "1 cpu, 512MiB of memory and 0.5 tpu"


def test_the_key_of_a_handler_tells_its_needs() -> None:
    key = key_of("app.fit", {"memory": 8_000_000_000, "gpus": 1})
    assert key == "app.fit gpus=1 memory=8000000000"
    assert of_key(key) == ("app.fit", {"gpus": 1, "memory": 8e9})
    assert of_key("app.fit") == ("app.fit", {})


def test_an_option_declares_resources() -> None:
    assert parse("gpus=1, memory=16GB,tpu=0.5") == {"gpus": 1, "memory": 16e9, "tpu": 0.5}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gpus", '"gpus" has no amount of its own: write gpus=1'),
        ("gpus=0", '"gpus=0" has no amount of its own: write gpus=1'),
        ("gpus=nan", '"gpus=nan" has no amount of its own: write gpus=1'),
        ("memory=16", '"memory=16" has no amount of its own: write memory=16GB'),
        ("GPU=1", '"GPU=1" is no resource: write gpus=1,memory=16GB'),
        ("", '"" is no resource: write gpus=1,memory=16GB'),
    ],
)
def test_a_wrong_option_is_told(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="write") as raised:
        parse(text)
    assert str(raised.value) == sentence


def test_what_an_offer_lacks() -> None:
    assert lacking({"gpus": 1, "cpus": 2}, {"cpus": 8}) == {"gpus": 1}
    assert lacking({"cpus": 2}, {"cpus": 2}) == {}


@dataclass(eq=False)
class Needy:
    """A task, as far as the gate looks at it."""

    needs: dict[str, float]
    cancelled: bool = False

    @property
    def call(self) -> Any:
        """Its step."""
        return SimpleNamespace(resources=self.needs)


def needy(**needs: float) -> Task:
    return cast("Task", Needy(needs))


def test_tasks_begin_while_their_needs_fit_in_their_order() -> None:
    gate = Gate({"cpus": 4})
    first, large, small, free = needy(cpus=3), needy(cpus=4), needy(cpus=1), needy()
    assert gate.admit([first, large, small, free]) == [free, first]
    assert len(gate) == 2  # the small one waits behind the large one, which so gets its turn
    assert gate.give_back(first) == [large]
    assert gate.give_back(first) == []
    assert gate.give_back(large) == [small]


def test_a_withdrawn_task_has_taken_nothing() -> None:
    gate = Gate({"gpus": 1})
    first, second = needy(gpus=1), needy(gpus=1)
    assert gate.admit([first, second]) == [first]
    assert gate.withdraw(5) == [second]
    assert gate.give_back(second) == []
    assert gate.give_back(first) == []
    assert gate.admit([second]) == [second]


def test_a_cancelled_task_holds_up_nobody() -> None:
    gate = Gate({"gpus": 1})
    first, second = needy(gpus=1), needy(gpus=1)
    assert gate.admit([first, second]) == [first]
    cast("Any", second).cancelled = True
    third = needy(gpus=1)
    assert gate.admit([third]) == [second]
