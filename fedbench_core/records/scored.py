"""The scores of a record: those of the last round, or means over the last whole period of a method that has one.

Whatever shows or ranks scores reads them here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedbench_core.federation.matrix import divided
from fedbench_core.federation.periods import Metrics, mean_metrics, window

Record = Mapping[str, Any]
Rows = tuple[int, ...]
"""The number of a client's model among the distinct ones of each round."""


@dataclass(frozen=True)
class Scored:
    """The scores of one role. evaluations: its summary after each round of the last period, or after the last round."""

    evaluations: Sequence[Record]

    @property
    def metrics(self) -> Metrics:
        """The mean of each score over the rounds."""
        return mean_metrics([one["metrics"] for one in self.evaluations])

    @property
    def undefined(self) -> dict[str, int]:
        """For each score the number of clients or classes without one, the largest of all rounds."""
        names = {name: None for one in self.evaluations for name in one["undefined"]}
        return {name: max(one["undefined"].get(name, 0) for one in self.evaluations) for name in names}

    @property
    def predictors(self) -> tuple[list[Rows], list[int | None]]:
        """The distinct predictors over all rounds, and for each client the number of its own.

        None for a client that has no model in one of the rounds.
        """
        of_client = list(zip(*(one["matrix"]["predictor_of_client"] for one in self.evaluations), strict=True))
        numbers: dict[Rows, int] = {}
        own = [None if None in rows else numbers.setdefault(rows, len(numbers)) for rows in of_client]
        return list(numbers), own

    @property
    def by_client(self) -> list[Sequence[float | None]]:
        """The cross-evaluation matrix, a row per client: the mean of its models' scores on each client's distribution.

        A client that has no model in one of the rounds has undefined scores.
        """
        distinct, own = self.predictors
        matrices = [one["matrix"][one["matrix"]["primary"]] for one in self.evaluations]
        picked = [[matrix[row] for matrix, row in zip(matrices, rows, strict=True)] for rows in distinct]
        means = _mean(picked) if len(matrices) > 1 else [rows[0] for rows in picked]
        return [[None] * len(own) if row is None else means[row] for row in own]


def scored(record: Record, role: str | None = None) -> Scored:
    """The scores of a record's headline role, or of another one."""
    found = [*record["test"].get("earlier", ()), record["test"]]
    return Scored(found if role is None else [one["roles"][role] for one in found])


def rounds_text(record: Record, round_: int | None = None) -> str:
    """After which rounds the scores were taken, the last ones or those of `round_`: `after 9 rounds`."""
    last = record["test"]["round"] if round_ is None else round_
    rounds = window(last, len(scored(record).evaluations))
    if len(rounds) == 1:
        return f"after {last + 1} rounds"
    return f"mean after rounds {rounds[0] + 1} to {rounds[-1] + 1}"


def _mean(rows: Sequence[Sequence[Sequence[float | None]]]) -> list[list[float | None]]:
    """The mean over rounds where it is defined. rows: (models, rounds, clients)."""
    values = np.array(rows, np.float64)
    known = ~np.isnan(values)
    means = divided(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1, dtype=np.float64)) if rows else values
    return [[None if np.isnan(value) else float(value) for value in row] for row in means]
