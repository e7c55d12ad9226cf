"""The scores and notes printed at the end of a run."""

from typing import TYPE_CHECKING, Any

from fedbench_core.cli.output import echo, print_sentence, print_table
from fedbench_core.cli.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from fedbench_core.runner import Finished

DIRECTIONS = ("up", "down", "peer")
_LEAST_SAVING = 0.01
"""A smaller saving is not reported."""
SCORES = {
    "personalization": "personalization",
    "generalization": "generalization",
    "global_accuracy": "accuracy, whole test set",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC, mean over classes",
    "f1": "F1, mean over classes",
    "rarest_recall": "recall of the rarest class",
    "worst_client": "worst client",
    "worst_decile": "worst tenth of clients",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
}


def print_report(finished: "Finished", seconds: float) -> None:
    """Print the scores by role and round, the bytes sent, and notes on how to read them.

    seconds: how long the command took; of a run that was finished before, the recorded time is printed.
    """
    from fedbench_core.records.majority import majority_scores  # noqa: PLC0415  # numpy, and --help does not need it

    record = finished.record
    if finished.before:
        echo("This run is already finished: its recorded scores follow. Use --fresh to repeat it.\n")
    columns = {**_columns(record), "most frequent class": majority_scores(record)}
    rows = [[label, *(_score(metrics.get(name)) for metrics in columns.values())] for name, label in SCORES.items()]
    print_table(("test set", *columns), [row for row in rows if any(cell != "-" for cell in row[1:])])
    echo()
    costs = record["costs"]
    print_table(("sent", "bytes"), [(direction, bytes_text(costs[f"bytes_{direction}"])) for direction in DIRECTIONS])
    echo()
    for line in _notes(record):
        print_sentence(line)
    took = record["how"]["seconds"] if finished.before else seconds
    print_sentence(f"{seconds_text(took)}; recorded in {finished.folder}")
    _print_models(finished)


def _print_models(finished: "Finished") -> None:
    """Print where the models are, or why they were not kept; nothing if none were asked for."""
    from fedbench_core.records.kept_models import MODELS, kept  # noqa: PLC0415  # imports torch, and --help does not need it

    found = kept(finished.folder)
    if found is None:
        return
    if found.reason:
        print_sentence(f"The models were not kept: {found.reason}.")
    else:
        print_sentence(f"Models: {bytes_text(found.size)} in {finished.folder / MODELS}")


def _columns(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    test, selected = record["test"], record["selected"]
    columns = {f"{test['role']}, after {test['round'] + 1} rounds": test["metrics"]}
    if selected is not None and selected["round"] != test["round"]:
        columns[f"{test['role']}, after {selected['round'] + 1} (best on validation)"] = selected["metrics"]
    return columns | {
        f"{role}, after {test['round'] + 1} rounds": summary["metrics"] for role, summary in test["roles"].items()
    }


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _saving(costs: dict[str, Any]) -> list[str]:
    """The bytes saved in comparison with sending each client's whole backbone, and how they were saved."""
    sent, dense, whole = (
        sum(costs[f"bytes_{direction}"] for direction in DIRECTIONS),
        costs["bytes_dense"],
        costs["bytes_whole_models"],
    )
    if not sent or whole - sent < _LEAST_SAVING * whole:
        return []
    factors = f"{whole / dense:.2f}x by sending smaller payloads and {dense / sent:.2f}x by compression"
    return [f"Sending whole backbones would have taken {bytes_text(whole)}: {1 - sent / whole:.2%} saved, {factors}."]


def _notes(record: dict[str, Any]) -> list[str]:
    """What the scores are means of, which values are excluded, and what limits the comparison."""
    from fedbench_core.records.majority import constant_predictors  # noqa: PLC0415  # as above

    test, clients = record["test"], record["population"]["clients"]
    notes = [
        f"Means over {clients} clients. Personalization: accuracy on the client's own class distribution.",
        "Worst client: the lowest personalization. Generalization: accuracy on the other clients' distributions.",
        "All other scores: on the whole test set.",
        f"ECE and Brier score: over the {test['metrics']['n']} predictions of all clients for their own test images.",
    ]
    if constant := constant_predictors(record):
        notes.append(
            f"The models of {constant} of {clients} clients predict the same class for every test image: they have not "
            "learned. Train longer, or try another --lr."
        )
    if test["undefined"]:
        left_out = ", ".join(f"{name} {count}" for name, count in test["undefined"].items())
        notes.append(f"Undefined, and excluded from the means: {left_out}.")
    if record["rounds_skipped"]:
        rounds = ", ".join(map(str, record["rounds_skipped"]))
        notes.append(f"Rounds without participating clients (rounds are numbered from 0): {rounds}.")
    if record["costs"]["bytes_up"]:
        notes.append(
            "All clients start from equal weights, so there is no initial download: R uploads and R - 1 downloads per "
            "client. Papers often count 2 R."
        )
    notes += [*_saving(record["costs"]), *record["notes"]]
    if record["method"]["fidelity"] != "full":
        notes.append(
            "This method is a reconstruction: the README of its plugin lists the details that its paper leaves open."
        )
    if not record["data"]["official"]:
        notes.append(f"Not an official benchmark dataset: {record['data']['name']}.")
    return notes
