"""Values of a record that follow from others: each is computed again and compared."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fedbench_core.api.errors import RequestError
from fedbench_core.federation.matrix import Matrix
from fedbench_core.federation.spec import RunSpec, completed, digest_of
from fedbench_core.records.predictions import prediction_fault
from fedbench_core.records.recomputed import ReadError, read_floats, scores_of
from fedbench_core.records.scored import scored

Record = Mapping[str, Any]
_ROUNDING = 1e-5
"""Scores in records are means of recalls in single precision."""
_SPLITS = ("train", "val", "test")


Claim = tuple[str, Any, Any]
"""The name of a value, what is recorded, and what it must be."""


def contradiction(record: Record) -> str:
    """The first value that contradicts the rest of a record, as a sentence; "" if there is none.

    The record has the blocks of the schema.
    """
    try:
        for name, recorded, expected in _claims(record):
            if recorded != expected and not _near(recorded, expected):
                return f"{name} is {recorded}, but the rest of the record gives {expected}"
    except (RequestError, ReadError) as error:
        return str(error)
    return ""


def _near(recorded: object, expected: object) -> bool:
    """Whether two numbers are equal up to rounding."""
    numbers = isinstance(recorded, float | int) and isinstance(expected, float | int)
    return numbers and abs(recorded - expected) <= _ROUNDING  # type: ignore[operator]  # checked in the line above


def _claims(record: Record) -> Iterator[Claim]:
    spec = RunSpec.of(completed(record["spec"]))
    yield "spec_digest", record["spec_digest"], digest_of(record["spec"])
    yield from _of_population(record, spec)
    yield from _of_curve(record, spec)
    rounds = [one["round"] for one in scored(record).evaluations]
    yield "the rounds of test", rounds, list(range(spec.rounds - len(rounds), spec.rounds))
    for round_, evaluation in zip(rounds, scored(record).evaluations, strict=True):
        yield from _of_test(record, evaluation, "test" if evaluation is record["test"] else f"test of round {round_}")
    yield from _of_selected(record)
    yield from _of_costs(record)
    missing = {"fedbench-core", "torch"} - record["versions"].keys()
    yield "the list of missing versions", sorted(missing), []


def _of_population(record: Record, spec: RunSpec) -> Iterator[Claim]:
    population, data = record["population"], record["data"]
    clients, trained, images = population["clients"], population["trained"], population["images"]
    yield "population.clients", clients, spec.clients - spec.held_out
    if trained != 1:
        yield "population.trained", trained, clients
    yield "the number of population.backbones", len(population["backbones"]), trained
    cycle = spec.backbones
    yield "population.backbones", population["backbones"], [cycle[one % len(cycle)] for one in range(trained)]
    for split in _SPLITS:
        yield f"the length of population.images.{split}", len(images[split]), clients
        dealt, most = sum(images[split]), data["images"][split]
        yield f"population.images.{split} in total", dealt, min(dealt, most)
    if population.get("sites") is not None:
        yield "the number of population.sites", len(population["sites"]), clients
    shape = [len(row) for row in population["counts"]]
    yield "the shape of population.counts", shape, [len(data["classes"])] * clients
    if data["task"] != "multi-label":  # an image has several labels, or none
        yield "the totals of population.counts", [sum(row) for row in population["counts"]], images["train"]
    held_out = population.get("held_out") or {"counts": [], "images": {"test": []}}
    yield "the length of population.held_out.images.test", len(held_out["images"]["test"]), spec.held_out
    shape = [len(row) for row in held_out["counts"]]
    yield "the shape of population.held_out.counts", shape, [len(data["classes"])] * spec.held_out
    if spec.held_out:
        yield "test.unseen_role", record["test"].get("unseen_role") in _roles(record["test"]), True


def _of_curve(record: Record, spec: RunSpec) -> Iterator[Claim]:
    every, own = spec.evaluate_every, record["population"]["images"][spec.evaluate_on]
    due = range(every - 1, spec.rounds, every) if every else range(0)
    yield "the number of points of curve", len(record["curve"]), len(due)
    yield "the rounds of curve", [point["round"] for point in record["curve"]], list(due)
    for number, point in enumerate(record["curve"]):
        yield f"curve.{number}.split", point["split"], spec.evaluate_on
        yield f"curve.{number}.n", point["n"], min(point["n"], sum(own))
    skipped = record["rounds_skipped"]
    yield "rounds_skipped", skipped, sorted({round_ for round_ in skipped if round_ < spec.rounds})


def _of_test(record: Record, test: Record, where: str) -> Iterator[Claim]:
    """The scores of every role in an evaluation, from per-image correctness and the clients' training images."""
    yield f"the roles of {where}", _roles(test), _roles(record["test"])
    yield from _of_auc(record, test, where)
    roles = {f"{where}.roles.{role}": own for role, own in test["roles"].items()}
    for prefix, summary in {where: test, **roles}.items():
        expected = scores_of(record, summary)
        yield f"{prefix}.matrix.primary", summary["matrix"]["primary"], expected.primary
        yield from _of_matrix(
            f"{prefix}.matrix.{expected.primary}", summary["matrix"][expected.primary], expected.matrix
        )
        for name, value in expected.metrics.items():
            yield f"{prefix}.metrics.{name}", summary["metrics"].get(name), value
        undefined = {name: summary["undefined"].get(name, 0) for name in expected.undefined}
        yield f"{prefix}.undefined", undefined, expected.undefined
        yield f"{prefix}.rarest_class", summary["rarest_class"], expected.rarest_class
        yield f"{prefix}.predicted", prediction_fault(record, summary), ""


def _roles(test: Record) -> list[str]:
    """The headline role, and the others."""
    return [test["role"], *sorted(test["roles"])]


def _of_auc(record: Record, test: Record, where: str) -> Iterator[Claim]:
    """What the images contribute to the AUC adds up to it."""
    if (text := test.get("auc_images")) is not None:
        found = read_floats(text, record["data"]["images"]["test"], f"{where}.auc_images")
        yield f"{where}.metrics.auc", test["metrics"].get("auc"), float(found.sum())


def _of_matrix(name: str, recorded: list[list[float | None]], expected: Matrix) -> Iterator[Claim]:
    """The first value that differs."""
    found = np.array(recorded, np.float64).reshape(expected.shape)
    wrong = ~((np.abs(found - expected) <= _ROUNDING) | (np.isnan(found) & np.isnan(expected)))
    for row, column in np.argwhere(wrong)[:1]:
        yield f"{name}.{row}.{column}", recorded[row][column], str(expected[row, column])


def _of_selected(record: Record) -> Iterator[Claim]:
    """The selected round is one of the curve, with its validation score; the best where all have as many images."""
    selected, curve = record["selected"], record["curve"]
    on_val = [point for point in curve if point["split"] == "val" and point["personalization"] is not None]
    yield "selected", selected is None, not on_val
    if selected is None or not on_val:
        return
    scores = {point["round"]: point["personalization"] for point in on_val}
    yield "selected.validation", selected["validation"], scores.get(selected["round"])
    if len({point["n"] for point in on_val}) == 1:
        yield "selected.round", selected["round"], max(scores, key=scores.__getitem__)
    if selected["round"] == record["test"]["round"]:
        yield "selected.metrics", selected["metrics"], scored(record).metrics


def _of_costs(record: Record) -> Iterator[Claim]:
    costs = record["costs"]
    sent = costs["bytes_up"] + costs["bytes_down"] + costs["bytes_peer"]
    after = costs.get("bytes_down_after", 0)
    yield "costs.bytes_down_after", after, min(after, costs["bytes_down"])
    yield "costs.bytes_dense > 0", costs["bytes_dense"] > 0, sent > 0
    missing = sorted({*record["population"]["backbones"]} - costs["backbones"].keys())
    yield "the list of backbones missing in costs.backbones", missing, []
    if len(used := {costs["backbones"][name]["bytes"] for name in record["population"]["backbones"]}) == 1:
        odd = costs["bytes_whole_models"] % max(1, *used)
        yield "costs.bytes_whole_models modulo the bytes of a model", odd, 0
