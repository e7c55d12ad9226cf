"""Budgets in bytes, GFLOPs or seconds, and the entries that exceed them."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedbench_core.api import RequestError
from fedbench_core.leaderboard.columns import COSTS
from fedbench_core.leaderboard.misfits import Record, Runs
from fedbench_core.leaderboard.rounding import round_significant
from fedbench_core.records.costs import bytes_per_turn
from fedbench_core.statistics.intervals import defined_mean

_COSTS = {column.name: column for column in COSTS}


@dataclass(frozen=True)
class Budget:
    """The highest mean cost of an entry over its runs; `unit` and `unit_name` are those that it was given in."""

    kind: str
    limit: float
    unit: float
    unit_name: str

    @property
    def read(self) -> Callable[[Record], float | None]:
        """The function that gives the cost of a run in bytes per client and round, GFLOPs or seconds."""
        return _KINDS[self.kind][0]

    @property
    def text(self) -> str:
        """The budget in words: `10 MB per client and round`."""
        return f"{self.limit / self.unit:g} {self.unit_name} {_KINDS[self.kind][1]}"


# Kind -> the cost of a record, what it is counted over, and the accepted units, the default first.
_KINDS: dict[str, tuple[Callable[[Record], float | None], str, dict[str, float]]] = {
    "bytes": (
        bytes_per_turn,
        "per client and round",
        {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    ),
    "gflops": (_COSTS["gflops"].read, "of arithmetic", {"GFLOPs": 1, "TFLOPs": 1e3, "PFLOPs": 1e6}),
    "seconds": (_COSTS["seconds"].read, "per run", {"s": 1, "min": 60, "h": 3600}),
}


def read_budget(text: str) -> Budget:
    """The budget that a text such as `bytes=10MB`, `gflops=500` or `seconds=2min` describes; RequestError otherwise."""
    kind, _, amount = text.partition("=")
    units = _KINDS[kind][2] if kind in _KINDS else {}
    number = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", amount)
    given = (number[2] or next(iter(units), "")).lower() if number else ""
    unit = next((unit for unit in units if unit.lower() == given), None)
    if number is None or unit is None:
        raise RequestError(
            f"--budget {text}: expected bytes=10MB (per client and round; B, kB, MB, GB), gflops=500 or seconds=120."
        )
    return Budget(kind, float(number[1]) * units[unit], units[unit], unit)


@dataclass(frozen=True)
class OverBudget:
    """An entry that exceeds a budget, with its mean cost; None if the cost was not measured."""

    entry: str
    budget: Budget
    cost: float | None

    def __str__(self) -> str:
        """The entry and its cost: `NAME (1.50 MB)`."""
        if self.cost is None:
            return f"{self.entry} (not measured)"
        return f"{self.entry} ({round_significant(self.cost / self.budget.unit)} {self.budget.unit_name})"


def within_budgets(runs: Runs, budgets: Sequence[Budget]) -> tuple[Runs, list[OverBudget]]:
    """The entries within all budgets, and the others with the first budget that each exceeds."""
    over = [first for name, own in runs.items() for first in _exceeded(name, list(own.values()), budgets)[:1]]
    names = {one.entry for one in over}
    return {name: own for name, own in runs.items() if name not in names}, over


def _exceeded(name: str, own: Sequence[Record], budgets: Sequence[Budget]) -> list[OverBudget]:
    costs = [(budget, defined_mean([budget.read(record) for record in own])[0]) for budget in budgets]
    return [
        OverBudget(name, budget, None if math.isnan(cost) else cost)
        for budget, cost in costs
        if math.isnan(cost) or cost > budget.limit
    ]
