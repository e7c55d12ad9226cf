"""The table at the end of a run."""

from typing import TYPE_CHECKING, Any

import click

from fedbench_core.cli.output import print_sentence, print_table
from fedbench_core.cli.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from fedbench_core.runner import Finished

WAYS = ("up", "down", "peer")
_WORTH_TELLING = 0.01
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


def print_report(finished: "Finished") -> None:
    """Scores by role and round, what was sent, and what the numbers are means of."""
    record = finished.record
    if finished.before:
        click.echo("Already done: these are the recorded scores. Use --fresh to run it again.\n")
    columns = _columns(record)
    rows = [[words, *(_score(metrics.get(name)) for metrics in columns.values())] for name, words in SCORES.items()]
    print_table(("test set", *columns), [row for row in rows if any(grid_point != "-" for grid_point in row[1:])])
    click.echo()
    costs = record["costs"]
    print_table(("sent", "bytes"), [(way, bytes_text(costs[f"bytes_{way}"])) for way in WAYS])
    click.echo()
    for line in _notes(record):
        print_sentence(line)
    print_sentence(f"{seconds_text(record['how']['seconds'])}; recorded in {finished.folder}")


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
    """What was saved against whole models of the clients' own backbones, and by what."""
    sent, dense, whole = sum(costs[f"bytes_{way}"] for way in WAYS), costs["bytes_dense"], costs["bytes_whole_models"]
    if not sent or whole - sent < _WORTH_TELLING * whole:
        return []
    saved = f"{1 - sent / whole:.2%} saved, {whole / dense:.2f}x by what is said and {dense / sent:.2f}x by compression"
    return [f"Whole models of the clients' own backbones would have been {bytes_text(whole)}: {saved}."]


def _notes(record: dict[str, Any]) -> list[str]:
    """What is averaged over whom, and what was left out."""
    test, clients = record["test"], record["population"]["clients"]
    notes = [
        f"Means over {clients} clients. Personalization: accuracy on a client's own distribution (worst: the least).",
        "Generalization: on the others' distributions. All other scores: on the whole test set.",
        f"Calibration: {test['metrics']['n']} predictions of all clients for their own test images, pooled.",
    ]
    if test["undefined"]:
        left_out = ", ".join(f"{name} {count}" for name, count in test["undefined"].items())
        notes.append(f"Undefined and left out of the means: {left_out}.")
    if record["rounds_skipped"]:
        notes.append(f"Rounds with nobody present (the first is 0): {', '.join(map(str, record['rounds_skipped']))}.")
    if record["costs"]["bytes_up"]:
        notes.append(
            "Downloads are counted from the first broadcast on: equal initial weights need none. Papers quote 2 R."
        )
    notes += [*_saving(record["costs"]), *record["notes"]]
    if record["method"]["fidelity"] != "full":
        notes.append("This method is a reconstruction: its paper's text leaves open what its plugin's README lists.")
    if not record["data"]["official"]:
        notes.append(f"Not an official benchmark dataset: {record['data']['name']}.")
    return notes
