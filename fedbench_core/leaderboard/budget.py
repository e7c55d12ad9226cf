"""Budgets: which entries cost no more than so many bytes, GFLOPs or seconds."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedbench_core.api import RequestError
from fedbench_core.leaderboard.cases import Record, Runs
from fedbench_core.leaderboard.columns import COSTS
from fedbench_core.leaderboard.digits import significant
from fedbench_core.statistics.intervals import defined_mean

_COSTS = {column.name: column for column in COSTS}


def bytes_per_turn(record: Record) -> float:
    """Bytes per client and round, up, down and between peers: each message once."""
    return sum(1e6 * (_COSTS[f"mb_{way}"].read(record) or 0.0) for way in ("up", "down", "peer"))


@dataclass(frozen=True)
class Budget:
    """The most that an entry may cost on average over its runs; `unit` and its `name` are those it was given in."""

    kind: str
    most: float
    unit: float
    name: str

    @property
    def read(self) -> Callable[[Record], float | None]:
        """What a run costs, in bytes per client and round, GFLOPs or seconds."""
        return _KINDS[self.kind][0]

    @property
    def words(self) -> str:
        """The budget as a reader is told it."""
        return f"{self.most / self.unit:g} {self.name} {_KINDS[self.kind][1]}"


# What is read, what it is counted over, and the units it is given in, the one without a name first.
_KINDS: dict[str, tuple[Callable[[Record], float | None], str, dict[str, float]]] = {
    "bytes": (
        bytes_per_turn,
        "per client and round",
        {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    ),
    "gflops": (_COSTS["gflops"].read, "in training", {"GFLOPs": 1, "TFLOPs": 1e3, "PFLOPs": 1e6}),
    "seconds": (_COSTS["seconds"].read, "per run", {"s": 1, "min": 60, "h": 3600}),
}


def read_budget(text: str) -> Budget:
    """A budget such as `bytes=10MB`, `gflops=500` or `seconds=2min`; RequestError says what is accepted."""
    kind, _, amount = text.partition("=")
    units = _KINDS[kind][2] if kind in _KINDS else {}
    number = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", amount)
    asked = (number[2] or next(iter(units), "")).lower() if number else ""
    unit = next((unit for unit in units if unit.lower() == asked), None)
    if number is None or unit is None:
        raise RequestError(
            f"--budget {text}: expected bytes=10MB (per client and round; B, kB, MB, GB), gflops=500 or seconds=120."
        )
    return Budget(kind, float(number[1]) * units[unit], units[unit], unit)


@dataclass(frozen=True)
class LeftOut:
    """An entry that costs more than a budget allows, and its mean cost; None where it was not counted."""

    entry: str
    budget: Budget
    cost: float | None

    def __str__(self) -> str:
        """As a reader is told it."""
        spent = (
            "not counted" if self.cost is None else f"{significant(self.cost / self.budget.unit)} {self.budget.name}"
        )
        return f"{self.entry} ({spent})"


def within(runs: Runs, budgets: Sequence[Budget]) -> tuple[Runs, list[LeftOut]]:
    """The entries that keep to all budgets, and those that don't, with the first that they break."""
    broken = [over for name, own in runs.items() for over in _broken(name, list(own.values()), budgets)[:1]]
    gone = {over.entry for over in broken}
    return {name: own for name, own in runs.items() if name not in gone}, broken


def _broken(name: str, own: Sequence[Record], budgets: Sequence[Budget]) -> list[LeftOut]:
    costs = [(budget, defined_mean([budget.read(record) for record in own])[0]) for budget in budgets]
    return [
        LeftOut(name, budget, None if math.isnan(cost) else cost)
        for budget, cost in costs
        if math.isnan(cost) or cost > budget.most
    ]
