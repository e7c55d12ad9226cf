"""The columns of a leaderboard, and where to find their values in a record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedbench_core.api.errors import unknown
from fedbench_core.leaderboard.misfits import Record
from fedbench_core.records.costs import gflops, turns
from fedbench_core.records.scored import scored
from fedbench_core.suites.suite import LESS_IS_BETTER

MEGA = 1e6


@dataclass(frozen=True)
class Column:
    """A quantity: its name for `--sort`, its heading, and the function that gives its value for a record."""

    name: str
    heading: str
    read: Callable[[Record], float | None]
    more_is_better: bool = True
    meaning: str = ""

    @property
    def arrowed(self) -> str:
        """The heading with an arrow towards better values."""
        return f"{self.heading} {'↑' if self.more_is_better else '↓'}"


def _score(name: str, heading: str, meaning: str) -> Column:
    """A score at the end of a run, on test images; the best of several rounds would be selected on test data."""
    more_is_better = name not in LESS_IS_BETTER
    return Column(name, heading, lambda record: scored(record).metrics.get(name), more_is_better, meaning)


def _per_turn(way: str) -> Callable[[Record], float]:
    """Megabytes per client and round."""

    def read(record: Record) -> float:
        return float(record["costs"][f"bytes_{way}"]) / turns(record) / MEGA

    return read


_OWN_ACCURACY = "accuracy of each client's model on the client's own label distribution"
_SCORES = (
    _score("personalization", "personalization", f"{_OWN_ACCURACY}, mean over clients"),
    _score(
        "generalization",
        "generalization",
        "accuracy of each client's model on the label distributions of the other clients",
    ),
    _score("auc", "macro-AUC", "area under the ROC curve on the whole test set, mean over classes and clients"),
    _score("balanced_accuracy", "balanced accuracy", "mean recall of the classes on the whole test set"),
    _score("worst_client", "worst client", f"{_OWN_ACCURACY}, minimum over clients"),
    _score(
        "ece",
        "ECE (pooled)",
        "expected calibration error on the clients' own test images, predictions pooled over clients before binning",
    ),
)
_FURTHER = (
    _score("global_accuracy", "accuracy", "accuracy on the whole test set, mean over clients"),
    _score("f1", "macro-F1", "F1 on the whole test set, mean over classes and clients"),
    _score("rarest_recall", "recall of the rarest class", "recall of the class with the fewest training images"),
    _score("worst_decile", "worst tenth", f"{_OWN_ACCURACY}, mean over the lowest tenth of clients"),
    _score(
        "mae",
        "mean error",
        "mean distance between the predicted and the true class on the whole test set",
    ),
    _score(
        "brier",
        "Brier score",
        "mean squared distance of the predicted probabilities to the labels, on the clients' own test images",
    ),
)


def _unseen(record: Record) -> float | None:
    test = record["test"]
    role = test.get("unseen_role", test["role"])
    return scored(record, None if role == test["role"] else role).metrics.get("unseen")


UNSEEN = Column(
    "unseen",
    "unseen clients",
    _unseen,
    meaning="accuracy on the label distributions of the clients that were held out of training, of the model that "
    "clients have in common if there is one, or else mean over the clients' models",
)


def hurt(baseline: Mapping[int, Record]) -> Column:
    """The share of clients whose personalization is below that of a baseline, whose records are given by seed."""

    def read(record: Record) -> float | None:
        own = personalization_by_client(record)
        alone = personalization_by_client(baseline.get(record["spec"]["seed"]))
        below = [one < other for one, other in zip(own, alone, strict=False) if one is not None and other is not None]
        return sum(below) / len(below) if below else None

    meaning = "share of clients whose personalization is below that of local training with equal steps and seed"
    return Column("hurt", "clients hurt", read, more_is_better=False, meaning=meaning)


def personalization_by_client(record: Record | None) -> list[float | None]:
    """The personalization of each client; None without a model."""
    if record is None:
        return []
    return [row[client] for client, row in enumerate(scored(record).by_client)]


COSTS = (
    Column("mb_up", "MB up", _per_turn("up"), more_is_better=False),
    Column("mb_down", "MB down", _per_turn("down"), more_is_better=False),
    Column("mb_peer", "MB peer", _per_turn("peer"), more_is_better=False),
    Column("gflops", "GFLOPs", gflops, more_is_better=False),
    Column("seconds", "seconds", lambda record: record["how"]["seconds"], more_is_better=False),
)
_METRICS = {column.name: column for column in (*_SCORES, UNSEEN, *_FURTHER)}
_ALL = {**_METRICS, **{column.name: column for column in COSTS}}


def metric(name: str) -> Column:
    """The score with that name; RequestError with close matches if there is none."""
    if name not in _METRICS:
        raise unknown("metric", name, _METRICS)
    return _METRICS[name]


def column(name: str) -> Column:
    """The score or cost with that name; RequestError with close matches if there is none."""
    if name not in _ALL:
        raise unknown("column", name, _ALL)
    return _ALL[name]


def heading(name: str) -> str:
    """The heading of a score; its name if it has no column."""
    return _METRICS[name].heading if name in _METRICS else name


def scores(primary: Column, *, unseen: bool = False) -> tuple[Column, ...]:
    """The score columns of a leaderboard, the primary metric first. unseen: whether clients were held out."""
    shown = [one for score in _SCORES for one in ((score, UNSEEN) if score.name == _BESIDE and unseen else (score,))]
    return (primary, *(score for score in shown if score != primary))


_BESIDE = "generalization"


def selected(primary: Column) -> Column:
    """The primary metric after the round that is best on validation; undefined without a learning curve."""
    return Column(
        f"selected_{primary.name}",
        f"{primary.heading}, best validation round",
        lambda record: (record["selected"] or {"metrics": {}})["metrics"].get(primary.name),
        primary.more_is_better,
    )
