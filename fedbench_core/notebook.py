"""Records and comparisons for a Python session or a notebook: tables as data frames, and pictures that show inline."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import pandas as pd

from fedbench_core.api.errors import RequestError, RunError
from fedbench_core.federation.spec import MOST_SEED
from fedbench_core.leaderboard.adhoc import leaderboard_of
from fedbench_core.leaderboard.columns import metric as column
from fedbench_core.leaderboard.figures import PageFigure, curves_figure, tradeoff_figure
from fedbench_core.leaderboard.formats import to_csv
from fedbench_core.leaderboard.grouping import group_by_settings
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.markdown import page
from fedbench_core.records.record import read_record
from fedbench_core.records.runs import finished_runs
from fedbench_core.records.scored import scored
from fedbench_core.runner import How
from fedbench_core.suites.adhoc import adhoc_suite
from fedbench_core.suites.filed_records import filed_by_key
from fedbench_core.suites.running import SuiteProgress, plan_runs, run_suite

Record = Mapping[str, Any]
_COSTS = ("bytes_up", "bytes_down", "bytes_peer", "training_gflops")


class Records(Sequence[Record]):
    """The records of finished runs, in the order of `paths`."""

    def __init__(self, records: Mapping[Path, Record]) -> None:
        self.paths = list(records)
        self._records = list(records.values())

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        """The record at a position, or a list of those of a slice."""
        return self._records[at]

    def __len__(self) -> int:
        return len(self._records)

    def frame(self) -> pd.DataFrame:
        """A row per run and role: its settings and options, test scores, costs, and where it is recorded.

        headline: whether the role is the one that leaderboards rank. Bytes are those of the whole run.
        """
        return pd.DataFrame([row for path, record in self._items() for row in _rows(path, record)])

    def curves(self) -> pd.DataFrame:
        """A row per run and point of its learning curve; rounds are numbered from 0, as in the record."""
        points = [
            {"run": path.stem, **_names(record), **point} for path, record in self._items() for point in record["curve"]
        ]
        return pd.DataFrame(points)

    def compare(self, metric: str | None = None) -> "Comparison":
        """The runs ranked by a score; runs that differ only in their seed are one entry."""
        return Comparison(leaderboard_of(dict(self._items()), metric), self)

    def plot_curves(self, metric: str = "personalization") -> PageFigure:
        """The learning curves; RequestError if none has two points."""
        return _curves(group_by_settings(self), metric)

    def _items(self) -> Iterator[tuple[Path, Record]]:
        return zip(self.paths, self._records, strict=True)


@dataclass(frozen=True)
class Comparison:
    """A leaderboard, and the records that it compares. In a notebook, it is shown as tables with footnotes."""

    leaderboard: Leaderboard
    records: Records

    def frame(self) -> pd.DataFrame:
        """A row per entry of each table: its rank, and mean, interval and number of seeds of each column."""
        return pd.read_csv(io.StringIO(to_csv(self.leaderboard)))

    def plot_bytes(self) -> PageFigure:
        """Score against bytes per client and round, of the first table."""
        return tradeoff_figure(self.leaderboard.tables[0])

    def plot_curves(self) -> PageFigure:
        """The learning curves of the first table; RequestError if none has two points."""
        return _curves(self.leaderboard.tables[0].runs, self.leaderboard.ranked_by.name)

    def _repr_markdown_(self) -> str:
        return page(self.leaderboard)


def records(*sources: Path | str) -> Records:
    """The records that `sources` name: run folders, record files, or folders of either; `runs` if nothing is given.

    RequestError if there is no finished run; RecordError for a file that is no record.
    """
    names = [str(source) for source in sources or ("runs",)]
    found = finished_runs(names)
    if not found:
        raise RequestError(f"{', '.join(names)}: expected folders of finished runs, or folders of such folders.")
    return Records({path: read_record(path) for path in found})


def compare(
    methods: str | Sequence[str],
    seeds: int | Sequence[int] = 3,
    metric: str | None = None,
    how: How | None = None,
    watch: Callable[[SuiteProgress], None] = lambda _step: None,
    **settings: Any,
) -> Comparison:
    """Run methods with the same settings and seeds, as `fedbench compare` does, and compare them.

    settings: those of a `RunSpec`, without method and seed; seeds: their number, or a list; metric: the score to rank
    by, None for that which suits the dataset (see `suites.ranking`); how.workers: parallel runs;
    watch: called whenever a run has advanced. Finished runs are not repeated.
    RequestError for a wrong request, RunError if no run has a record at the end.
    """
    how = how or How()
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen or min(chosen) < 0 or max(chosen) > MOST_SEED:
        raise RequestError(f"seeds={seeds!r}: expected a number of seeds from 1 on, or a list of seeds.")
    suite = adhoc_suite("compare", [methods] if isinstance(methods, str) else methods, chosen, settings, metric)
    plan = plan_runs(suite.name, suite.grid_points(), how.out / "records", how, "compare")
    outcomes = run_suite(plan, how, watch)
    filed, keys = filed_by_key(how.out / "records"), {one.key for one in suite.grid_points()}
    own = {path: record for key, (path, record) in filed.items() if key in keys}
    if not own:
        reasons = " ".join(dict.fromkeys({**outcomes.skipped, **outcomes.failed}.values()))
        raise (RunError if outcomes.failed else RequestError)(reasons)
    return Comparison(replace(leaderboard_of(own, metric), suite=suite), Records(own))


def _curves(runs: Mapping[str, Mapping[int, Record]], metric: str) -> PageFigure:
    figure = curves_figure(runs, column(metric))
    if figure is None:
        raise RequestError(f"None of these runs has a learning curve of {metric}. Run with evaluate_every=1.")
    return figure


def _rows(path: Path, record: Record) -> Iterator[dict[str, Any]]:
    test, costs = record["test"], {name: record["costs"][name] for name in _COSTS}
    found = {test["role"]: scored(record), **{role: scored(record, role) for role in test["roles"]}}
    for role, own in found.items():
        which = {"role": role, "headline": role == test["role"]}
        scores = {**own.metrics, **costs, "seconds": record["how"]["seconds"]}
        yield {"run": path.stem, **_names(record), **which, **scores, **_settings(record), "path": str(path)}


def _names(record: Record) -> dict[str, Any]:
    return {name: record["spec"][name] for name in ("method", "dataset", "seed")}


def _settings(record: Record) -> dict[str, Any]:
    """The other settings and the options of parts."""
    spec = {**record["spec"], "backbones": ",".join(record["spec"]["backbones"])}
    named = (*_names(record), "set")
    return {**{name: value for name, value in spec.items() if name not in named}, **spec["set"]}
