"""The rounds of a run folder as scalars: of a run that is computed now, was interrupted, or is finished."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedbench_core.api import RequestError
from fedbench_core.federation.store import read_journal
from fedbench_core.records.folder import is_done
from fedbench_core.records.record import read_record
from fedbench_core.records.scored import scored

_TABLE = "clients.csv"
_FIXED = ("round", "phase", "client", "num_examples")
_WAYS = ("up", "down", "peer")
_COSTS = ("bytes_up", "bytes_down", "bytes_peer", "training_gflops", "aggregation_gflops")


@dataclass(frozen=True)
class Committed:
    """What a run folder holds: settings and versions, the rounds that are done, and the learning curve.

    length: bytes of `clients.csv`; None for all of them. summary: test scores and costs of a finished run.
    """

    spec: Mapping[str, Any]
    versions: Mapping[str, str]
    rounds: int
    curve: Sequence[Mapping[str, Any]]
    length: int | None = None
    summary: Mapping[str, float] | None = None


class Rounds:
    """Reads the rounds of a run folder as they are committed; each is given once."""

    def __init__(self, folder: Path) -> None:
        self._table = folder / _TABLE
        self._rounds = 0
        self._offset = 0
        self._columns: list[str] = []

    def new(self, committed: Committed) -> Iterator[tuple[int, dict[str, float]]]:
        """For each round since the last call: how many rounds are done after it, and its scalars."""
        rows = self._rows(committed.length)
        points = {point["round"]: point for point in committed.curve}
        for round_ in range(self._rounds, committed.rounds):
            own = [row for row in rows if int(row["round"]) == round_]
            yield round_ + 1, {**_of_turns(own), **_of_point(points.get(round_, {}))}
        self._rounds = committed.rounds

    def _rows(self, length: int | None) -> list[dict[str, str]]:
        """The rows since the last call, up to `length` bytes; none if the table is gone."""
        if not self._table.exists():
            return []
        with self._table.open("rb") as stream:
            stream.seek(self._offset)
            text = stream.read(-1 if length is None else length - self._offset)
        self._offset += len(text)
        reader = csv.reader(io.StringIO(text.decode()))
        self._columns = self._columns or next(reader, [])
        return [dict(zip(self._columns, row, strict=True)) for row in reader]


def read_committed(folder: Path) -> Committed:
    """What a run folder holds now; RequestError if no run was started there, RunError if it is damaged."""
    try:
        return _recorded(folder) if is_done(folder) else _journaled(folder)
    except RequestError:
        if is_done(folder):  # it has ended since
            return _recorded(folder)
        raise


def _recorded(folder: Path) -> Committed:
    record = read_record(folder)
    spec, metrics, costs = record["spec"], scored(record).metrics, record["costs"]
    summary = {name: float(value) for name, value in metrics.items() if value is not None}
    summary |= {name: float(costs[name]) for name in _COSTS if costs.get(name) is not None}
    summary["seconds"] = float(record["how"]["seconds"])
    return Committed(spec, record["versions"], spec["rounds"], record["curve"], summary=summary)


def _journaled(folder: Path) -> Committed:
    journal = read_journal(folder / "state")
    progress = journal["progress"]
    length = progress["tables"].get(_TABLE, (0, ""))[0]
    return Committed(journal["spec"], journal["versions"], progress["round"], progress["curve"], length)


def _of_turns(rows: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """The bytes of all turns, and the means of their metrics, weighted by images."""
    found = {f"bytes/{way}": float(sum(int(row[f"bytes_{way}"]) for row in rows)) for way in _WAYS}
    found["train/clients"] = float(len({row["client"] for row in rows}))
    metrics = [name for name in (rows[0] if rows else ()) if name not in (*_FIXED, *(f"bytes_{way}" for way in _WAYS))]
    for name in metrics:
        own = [row for row in rows if row[name]]
        if own:
            images = np.maximum([int(row["num_examples"]) for row in own], 1)
            found[f"train/{name}"] = float(np.average([float(row[name]) for row in own], weights=images))
    return found


def _of_point(point: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a point of the learning curve."""
    scores = {name: value for name, value in point.items() if name not in ("round", "split")}
    return {f"{point['split']}/{name}": float(value) for name, value in scores.items() if value is not None}
