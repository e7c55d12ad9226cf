"""Contents of a record. All blocks but `how` are equal for equal specs and versions."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from fedbench_core.api import Examples
from fedbench_core.federation.costs import Probe
from fedbench_core.federation.partition import HeldOut, Partition
from fedbench_core.federation.progress import Progress
from fedbench_core.federation.resolved import KINDS, ResolvedRun
from fedbench_core.records.record import FORMAT, sealed
from fedbench_core.records.schema import LIBRARIES
from fedbench_core.records.scored import scored
from fedbench_core.registry import registry

_version = cache(version)
"""Cached: reading metadata takes milliseconds, and a suite needs versions for every run."""


def versions(run: ResolvedRun) -> dict[str, str]:
    """The versions of all distributions that affect the numbers of a run."""
    spec, method = run.spec, run.method
    used = {("method", spec.method), ("local_update", method.local_update), ("dataset", spec.dataset.partition(":")[0])}
    for part in ("partitioner", "aggregator", "compressor", "downlink", "topology", "public"):
        used.add((KINDS[part], getattr(spec, part) or ""))
    used |= {("backbone", name) for name in spec.backbones}
    described = [registry().describe(kind, name) for kind, name in used if name in registry().names(kind)]
    plugins = {description.distribution: description.version for description in described}
    libraries = {name: _version(name) for name in ("fedbench-core", *LIBRARIES)}
    return dict(sorted({**plugins, **libraries, "python": platform.python_version()}.items()))


def build(
    run: ResolvedRun,
    partition: Partition,
    progress: Progress,
    test: Mapping[str, Any],
    probe: Probe,
    notes: Sequence[str],
    how: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of a finished run, sealed."""
    contents = {
        "format": FORMAT,
        "spec": run.spec.model_dump(mode="json"),
        "spec_digest": run.spec.digest,
        "method": {name: getattr(run.method, name) for name in ("fidelity", "paper", "summary")},
        "data": _data(partition),
        "population": _population(run, partition),
        "test": {"round": run.spec.rounds - 1, **test},
        "selected": _selected(progress, test),
        "curve": progress.curve,
        "rounds_skipped": progress.skipped,
        "tables": {name: digest for name, (_, digest) in progress.tables.items()},
        "notes": [*notes, *progress.notes],
        "costs": _costs(progress, probe),
        "versions": versions(run),
        "how": dict(how),
    }
    return sealed(contents)


def _data(partition: Partition) -> dict[str, Any]:
    splits = partition.splits
    return {
        "name": splits.name,
        "digest": splits.digest,
        "official": splits.official,
        "task": splits.task.kind,
        "classes": list(splits.task.classes),
        "image_shape": list(splits.train.images.shape[1:]),
        "images": {split: len(getattr(splits, split).images) for split in ("train", "val", "test")},
        "public": _public(partition),
    }


def _public(partition: Partition) -> dict[str, Any] | None:
    if partition.public is None:
        return None
    name, digest = partition.public_source
    return {"name": name, "digest": digest, "images": len(partition.public)}


def _population(run: ResolvedRun, partition: Partition) -> dict[str, Any]:
    return {
        "clients": run.clients,
        "trained": run.trained,
        "backbones": list(run.backbones),
        "images": {split: [len(rows) for rows in partition.indices[split]] for split in partition.indices},
        "counts": _class_counts(partition, partition.splits.train, partition),
        **({"sites": list(partition.sites)} if partition.sites else {}),
        **_held_out(partition),
    }


def _held_out(partition: Partition) -> dict[str, Any]:
    """The clients that were tested and not trained, if there are any."""
    held_out = partition.held_out
    if held_out is None:
        return {}
    whole = partition.splits.train
    counts = _class_counts(partition, replace(whole, indices=np.arange(len(whole.images))), held_out)
    block = {"images": {"test": [len(rows) for rows in held_out.indices["test"]]}, "counts": counts}
    return {"held_out": {**block, **({"sites": list(held_out.sites)} if held_out.sites else {})}}


def _class_counts(partition: Partition, train: Examples, clients: Partition | HeldOut) -> list[list[int]]:
    """Training images by client (rows) and class or label (columns). train: what the clients' rows are of."""
    task = partition.splits.task
    if task.kind == "multi-label":
        return [train.targets(rows).sum(dim=0).long().tolist() for rows in clients.indices["train"]]
    return [counts[: task.outputs].tolist() for counts in clients.counts]


def _selected(progress: Progress, test: Mapping[str, Any]) -> dict[str, Any] | None:
    """The test scores of the round selected on validation data, which may be the last one."""
    if progress.selected is None:
        return None
    return {**progress.selected, "metrics": progress.selected["metrics"] or scored({"test": test}).metrics}


def _costs(progress: Progress, probe: Probe) -> dict[str, Any]:
    """Measured bytes, beside those of uncompressed messages and of complete models; FLOPs; backbones.

    bytes_down_after: of bytes_down, those after the last round.
    """
    totals, sizes = progress.totals, probe.sizes()
    return {
        "bytes_up": totals.bytes_up,
        "bytes_down": totals.bytes_down,
        "bytes_peer": totals.bytes_peer,
        "bytes_down_after": totals.bytes_down_after,
        "bytes_dense": totals.bytes_dense,
        "bytes_whole_models": sum(sizes[name]["bytes"] * count for name, count in totals.messages.items()),
        "training_gflops": _giga(probe.flops(totals.training)),
        "aggregation_gflops": _giga(probe.flops(totals.aggregation)),
        "prediction_gflops": _giga(probe.flops(totals.prediction)),
        "backbones": sizes,
    }


def _giga(value: float | None) -> float | None:
    return None if value is None else value / 1e9
