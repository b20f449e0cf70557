"""The runs of a storm as data: the flow, its input, what people do to it, and how it must end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

APP = Path(__file__).parent / "app"
COMPLETED, FAILED, CANCELLED = "completed", "failed", "cancelled"
CANCEL = ("cancel",)
Signal = tuple[Any, ...]
"""A method of `Client` and what it takes after the run: `("send", "go", 5)`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. `steps` are those that must have this status, whatever the run came to."""

    flow: str
    input: Mapping[str, Any] = field(default_factory=dict)
    status: str = COMPLETED
    output: Any = None
    signals: tuple[Signal, ...] = ()
    steps: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_be_cancelled(self) -> bool:
        """Whether somebody cancels it, perhaps when it has ended already."""
        return CANCEL in self.signals


def wide(chance: Random, largest: int) -> Plan:
    """Return a map of which some items fail once or twice."""
    n = chance.randint(largest // 2, largest)
    given = {"n": n, "fails": chance.randint(0, 2)}
    return Plan("chaos_wide", given, output=list(range(n)))


def tolerant(chance: Random, largest: int) -> Plan:
    """Return a map with up to five items that fail for good: three are tolerated."""
    n = chance.randint(6, largest)
    wrong = sorted(chance.sample(range(n), chance.randint(0, 5)))
    given = {"n": n, "wrong": wrong}
    audit = {"audit": COMPLETED}
    if len(wrong) > 3:
        return Plan("chaos_tolerant", given, FAILED, steps={"each": FAILED, **audit})
    values = [None if i in wrong else i for i in range(n)]
    return Plan("chaos_tolerant", given, output={"values": values, "errors": wrong}, steps=audit)


def family(chance: Random, largest: int) -> Plan:
    """Return a run with children and grandchildren."""
    sizes = [chance.randint(2, largest // 4) for _ in range(chance.randint(1, 3))]
    sums = [sum(range(n)) for n in sizes]
    output = {"branches": sums, "caught": "ChildFailed"}
    return Plan("chaos_family", {"sizes": sizes}, output=output, steps={"broken": FAILED})


def waits(chance: Random, _: int) -> Plan:
    """Return a run that waits for an event and a decision."""
    approved, data = chance.random() < 0.5, chance.randint(0, 9)
    signals = [("send", "go", data), ("approve" if approved else "reject", "review")]
    chance.shuffle(signals)
    return Plan(
        "chaos_waits",
        {"approved": approved},
        output={
            "approved": data if approved else None,
            "refused": None if approved else "Rejected",
            "items": 8,
        },
        signals=tuple(signals),
        steps={"never": "skipped"},
    )


def rounds(chance: Random, largest: int) -> Plan:
    """Return a run with tasks that are called two to four times each."""
    n, last = chance.randint(2, largest // 3), chance.randint(1, 3)
    output = [[i, last] for i in range(n)]
    return Plan("chaos_rounds", {"n": n, "rounds": last}, output=output)


def diamond(chance: Random, largest: int) -> Plan:
    """Return a run with conditions, skipped steps and edges of all kinds."""
    left, n = chance.random() < 0.5, chance.randint(0, largest)
    output = {"side": "left" if left else "right", "optional": "skipped", "items": list(range(n))}
    return Plan("chaos_diamond", {"left": left, "n": n}, output=output)


def doomed(*_: object) -> Plan:
    """Return a run that fails while children and a wait of it go on."""
    ends = {"fail": FAILED, "audit": COMPLETED, "last": COMPLETED}
    return Plan("chaos_doomed", status=FAILED, steps=ends)


def late(*_: object) -> Plan:
    """Return a run whose timeout passes."""
    return Plan("chaos_late", status=FAILED, steps={"parked": CANCELLED, "audit": COMPLETED})


def endless(chance: Random, largest: int) -> Plan:
    """Return a run that only a cancel ends."""
    given = {"n": chance.randint(1, largest)}
    return Plan("chaos_endless", given, CANCELLED, signals=(CANCEL,), steps={"audit": COMPLETED})


KINDS: dict[Callable[[Random, int], Plan], int] = {
    wide: 6,
    tolerant: 4,
    family: 3,
    waits: 3,
    rounds: 3,
    diamond: 3,
    doomed: 2,
    late: 1,
    endless: 2,
}
"""The kinds of runs, and how often each is drawn."""

CANCELS = 0.05
"""The share of other runs that somebody cancels, at a random moment."""


def draw(chance: Random, largest: int) -> Plan:
    """Return a random run with maps of up to `largest` items."""
    (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
    plan = kind(chance, largest)
    if plan.may_be_cancelled or chance.random() >= CANCELS:
        return plan
    signals = (*plan.signals, CANCEL)
    return Plan(plan.flow, plan.input, plan.status, plan.output, signals)
