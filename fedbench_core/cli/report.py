"""The scores and notes printed at the end of a run."""

from typing import TYPE_CHECKING, Any

from fedbench_core.cli.output import echo, print_sentence, print_table
from fedbench_core.cli.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from fedbench_core.runner import Finished

DIRECTIONS = ("up", "down", "peer")
_WORDS = {"up": "uploaded", "down": "downloaded", "peer": "sent to peers"}
_LEAST_SAVING = 0.01
"""A smaller saving is not reported."""


def print_report(finished: "Finished", seconds: float) -> None:
    """Print the scores by role and round, the bytes sent, and notes on how to read them.

    seconds: how long the command took; of a run that was finished before, the recorded time is printed.
    """
    from fedbench_core.records.scores import score_table  # noqa: PLC0415  # numpy, and --help does not need it

    record = finished.record
    if finished.before:
        echo("This run is already finished: its recorded scores follow. Use --fresh to repeat it.\n")
    print_table(*score_table(record))
    echo()
    costs = record["costs"]
    sizes = [(words, bytes_text(costs[f"bytes_{direction}"])) for direction, words in _WORDS.items()]
    print_table(("messages", "bytes"), sizes)
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


def _downloads(costs: dict[str, Any]) -> str:
    """Which downloads are counted."""
    first = "All clients start from equal weights, so there is no download before the first round;"
    after = costs.get("bytes_down_after", 0)
    if after:
        return f"{first} one after the last round is counted ({bytes_text(after)}), because the scored models need it."
    return f"{first} and none after the last one, because the scored models don't need it. Papers often count both."


def _held_out_text(held_out: dict[str, Any]) -> str:
    """`2 clients`, or `1 site (Oslo)`."""
    sites = held_out.get("sites")
    count = len(held_out["counts"])
    named = f" ({', '.join(sites)})" if sites else ""
    return f"{count} {'site' if sites else 'client'}{'' if count == 1 else 's'}{named}"


def _notes(record: dict[str, Any]) -> list[str]:
    """What the scores are means of, which values are excluded, and what limits the comparison."""
    from fedbench_core.records.majority import constant_predictors  # noqa: PLC0415  # as above
    from fedbench_core.records.scored import scored  # noqa: PLC0415  # as above

    found, clients = scored(record), record["population"]["clients"]
    period = len(found.evaluations)
    over = f"{clients} clients" if period == 1 else f"{clients} clients and the {period} rounds of the last period"
    notes = [
        f"Means over {over}. Personalization: accuracy on the client's own class distribution.",
        "Worst client: the lowest personalization. Generalization: accuracy on the other clients' distributions.",
        "All other scores: on the whole test set.",
        f"ECE and Brier score: over the {found.metrics['n']} predictions of all clients for their own test images.",
    ]
    if held_out := record["population"].get("held_out"):
        notes.append(
            f"Unseen clients: accuracy on the distributions of {_held_out_text(held_out)} held out of training, mean "
            f"over the clients' models. A leaderboard shows that of the role {record['test']['unseen_role']!r}."
        )
    if constant := constant_predictors(record):
        notes.append(
            f"The models of {constant} of {clients} clients predict the same class for every test image: they have not "
            "learned. Train longer, or try another --lr."
        )
    if found.undefined:
        left_out = ", ".join(f"{name} {count}" for name, count in found.undefined.items())
        notes.append(f"Undefined, and excluded from the means: {left_out}.")
    if record["rounds_skipped"]:
        rounds = ", ".join(map(str, record["rounds_skipped"]))
        notes.append(f"Rounds without participating clients (rounds are numbered from 0): {rounds}.")
    if record["costs"]["bytes_up"]:
        notes.append(_downloads(record["costs"]))
    notes += [*_saving(record["costs"]), *record["notes"]]
    if record["method"]["fidelity"] != "full":
        notes.append(
            "This method is a reconstruction: the README of its plugin lists the details that its paper leaves open."
        )
    if not record["data"]["official"]:
        notes.append(f"Not an official benchmark dataset: {record['data']['name']}.")
    return notes
