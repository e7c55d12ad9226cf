"""Values of a record that follow from others: each is computed again and compared."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic_core import to_json

from fedbench_core.api.errors import RequestError
from fedbench_core.federation.matrix import Matrix
from fedbench_core.federation.spec import MOST_SEED, RunSpec, completed, digest_of
from fedbench_core.records.decoded import ReadError, read_floats
from fedbench_core.records.recomputed import Scores, scores_of_all
from fedbench_core.records.scored import scored

Record = Mapping[str, Any]
_ROUNDING = 1e-5
"""Scores in records are means of recalls in single precision."""
_SEED = "7c0ffd4f3a3f4b0f"
"""Stands for the seed in a text."""
_TWO = 2
_SPLITS = ("train", "val", "test")


Claim = tuple[str, Any, Any]
"""The name of a value, what is recorded, and what it must be."""
Role = tuple[str, Record, Scores | ReadError]
"""The name of a role, its summary, and what follows from its predictions."""


def contradictions(records: Sequence[Record]) -> list[str]:
    """For each record the first value that contradicts the rest of it, as a sentence; "" if there is none.

    The records have the blocks of the schema.
    """
    faults = [_first_wrong(_of_settings(record)) for record in records]
    roles = [(at, *role) for at, record in enumerate(records) if not faults[at] for role in _roles_of(record)]
    scores = scores_of_all([(records[at], summary) for at, _, summary in roles])
    own: defaultdict[int, list[Role]] = defaultdict(list)
    for (at, name, summary), found in zip(roles, scores, strict=True):
        own[at].append((name, summary, found))
    return [fault or _first_wrong(_of_results(records[at], own[at])) for at, fault in enumerate(faults)]


def _first_wrong(claims: Iterator[Claim]) -> str:
    try:
        for name, recorded, expected in claims:
            if recorded != expected and not _near(recorded, expected):
                return f"{name} is {recorded}, but the rest of the record gives {expected}"
    except (RequestError, ReadError) as error:
        return str(error)
    return ""


def _near(recorded: object, expected: object) -> bool:
    """Whether two numbers are equal up to rounding."""
    numbers = isinstance(recorded, float | int) and isinstance(expected, float | int)
    return numbers and abs(recorded - expected) <= _ROUNDING  # type: ignore[operator]  # checked in the line above


def _of_settings(record: Record) -> Iterator[Claim]:
    spec, digest = _spec(record["spec"])
    yield "spec_digest", record["spec_digest"], digest
    yield from _of_population(record, spec)
    yield from _of_curve(record, spec)
    rounds = [one["round"] for one in scored(record).evaluations]
    yield "the rounds of test", rounds, list(range(spec.rounds - len(rounds), spec.rounds))
    for evaluation in scored(record).evaluations:
        yield f"the roles after round {evaluation['round']}", _roles(evaluation), _roles(record["test"])


def _spec(values: dict[str, Any]) -> tuple[RunSpec, str]:
    """The spec of a record, and its digest; RequestError for a setting that is unknown or out of range."""
    seed = values.get("seed")
    if type(seed) is not int or not 0 <= seed <= MOST_SEED:
        return RunSpec.of(completed(values)), digest_of(values)
    spec, parts = _spec_of(to_json({**values, "seed": _SEED}, inf_nan_mode="constants"))
    text = str(seed).join(parts)
    return spec, hashlib.sha256(text.encode()).hexdigest() if len(parts) == _TWO else digest_of(values)


@lru_cache(maxsize=256)
def _spec_of(values: bytes) -> tuple[RunSpec, list[str]]:
    """A spec with the seed 0, and the text that `digest_of` digests, before and after its seed.

    Cached, because the runs of an entry differ in their seeds only.
    """
    given = json.loads(values)
    spec = RunSpec.of(completed({**given, "seed": 0}))
    return spec, json.dumps(given, sort_keys=True).split(f'"{_SEED}"')


def _roles_of(record: Record) -> Iterator[tuple[str, Record]]:
    """Every role in every evaluation, with its name."""
    for test in scored(record).evaluations:
        where = "test" if test is record["test"] else f"test of round {test['round']}"
        yield where, test
        yield from ((f"{where}.roles.{role}", own) for role, own in test["roles"].items())


def _of_results(record: Record, roles: Sequence[Role]) -> Iterator[Claim]:
    for role in roles:
        yield from _of_role(*role)
    yield from _of_auc(record)
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


def _of_role(where: str, summary: Record, expected: Scores | ReadError) -> Iterator[Claim]:
    """The scores of a role, from per-image correctness and the clients' training images."""
    if isinstance(expected, ReadError):
        raise expected
    yield f"{where}.matrix.primary", summary["matrix"]["primary"], expected.primary
    yield from _of_matrix(f"{where}.matrix.{expected.primary}", summary["matrix"][expected.primary], expected.matrix)
    for name, value in expected.metrics.items():
        yield f"{where}.metrics.{name}", summary["metrics"].get(name), value
    undefined = {name: summary["undefined"].get(name, 0) for name in expected.undefined}
    yield f"{where}.undefined", undefined, expected.undefined
    yield f"{where}.rarest_class", summary["rarest_class"], expected.rarest_class
    yield f"{where}.predicted", expected.fault, ""


def _roles(test: Record) -> list[str]:
    """The headline role, and the others."""
    return [test["role"], *sorted(test["roles"])]


def _of_auc(record: Record) -> Iterator[Claim]:
    """What the images contribute to the AUC adds up to it."""
    for test in scored(record).evaluations:
        if (text := test.get("auc_images")) is not None:
            name = f"test.{test['round']}"
            found = read_floats(text, record["data"]["images"]["test"], f"{name}.auc_images")
            yield f"{name}.metrics.auc", test["metrics"].get("auc"), float(found.sum())


def _of_matrix(name: str, recorded: list[list[float | None]], expected: Matrix) -> Iterator[Claim]:
    """The first value that differs."""
    found = np.array(recorded, np.float64).reshape(expected.shape)
    right = (np.abs(found - expected) <= _ROUNDING) | (np.isnan(found) & np.isnan(expected))
    for row, column in () if right.all() else np.argwhere(~right)[:1]:
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
