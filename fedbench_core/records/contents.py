"""What a record says. Everything outside the block `how` is the same for equal specs and versions."""

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from fedbench_core.federation.costs import Probe
from fedbench_core.federation.engine import Progress
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.resolved import KINDS, ResolvedRun
from fedbench_core.records.record import FORMAT, sealed
from fedbench_core.registry import registry

_version = cache(version)
"""A library's metadata takes milliseconds to read, and a suite asks for them once per run."""


def versions(setting: ResolvedRun) -> dict[str, str]:
    """The distributions that decide a run's numbers, with their versions."""
    spec, method = setting.spec, setting.method
    used = {("method", spec.method), ("local_update", method.local_update), ("dataset", spec.dataset.partition(":")[0])}
    for part in ("partitioner", "aggregator", "compressor", "downlink", "topology"):
        used.add((KINDS[part], getattr(spec, part) or ""))
    used |= {("backbone", name) for name in spec.backbones}
    described = [registry().describe(kind, name) for kind, name in used if name in registry().names(kind)]
    plugins = {description.distribution: description.version for description in described}
    libraries = {name: _version(name) for name in ("fedbench-core", "torch", "timm", "numpy", "torchmetrics")}
    return dict(sorted({**plugins, **libraries, "python": platform.python_version()}.items()))


def build(
    setting: ResolvedRun,
    shares: Partition,
    progress: Progress,
    test: Mapping[str, Any],
    probe: Probe,
    notes: Sequence[str],
    how: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of a finished run, sealed."""
    contents = {
        "format": FORMAT,
        "spec": setting.spec.model_dump(mode="json"),
        "spec_digest": setting.spec.digest,
        "method": {name: getattr(setting.method, name) for name in ("fidelity", "paper", "summary")},
        "data": _data(shares),
        "population": _population(setting, shares),
        "test": {"round": setting.spec.rounds - 1, **test},
        "selected": _selected(progress, test),
        "curve": progress.curve,
        "rounds_skipped": progress.skipped,
        "notes": [*notes, *progress.notes],
        "costs": _costs(progress, probe),
        "versions": versions(setting),
        "how": dict(how),
    }
    return sealed(contents)


def _data(shares: Partition) -> dict[str, Any]:
    splits = shares.splits
    return {
        "name": splits.name,
        "digest": splits.digest,
        "official": splits.official,
        "task": splits.task.kind,
        "classes": list(splits.task.classes),
        "image_shape": list(splits.train.images.shape[1:]),
        "images": {split: len(getattr(splits, split)) for split in ("train", "val", "test")},
    }


def _population(setting: ResolvedRun, shares: Partition) -> dict[str, Any]:
    return {
        "clients": setting.spec.clients,
        "trained": setting.trained,
        "backbones": [setting.backbone(client) for client in range(setting.trained)],
        "images": {split: [len(rows) for rows in shares.indices[split]] for split in shares.indices},
        "counts": _counts(shares),
    }


def _counts(shares: Partition) -> list[list[int]]:
    """Training images of each client (rows) by class, or with each of several labels (columns)."""
    train, task = shares.splits.train, shares.splits.task
    if task.kind == "multi-label":
        return [train.targets(rows).sum(dim=0).long().tolist() for rows in shares.indices["train"]]
    return [counts[: task.outputs].tolist() for counts in shares.counts]


def _selected(progress: Progress, test: Mapping[str, Any]) -> dict[str, Any] | None:
    """The test scores of the round that validation chose; those of the last round, if it chose that."""
    if progress.selected is None:
        return None
    return {**progress.selected, "metrics": progress.selected["metrics"] or test["metrics"]}


def _costs(progress: Progress, probe: Probe) -> dict[str, Any]:
    """Bytes as they were counted, beside what they would have been uncompressed, and with whole own models."""
    sizes, flops = probe.sizes(), probe.flops_per_image()
    total = sum(flops[name] * images for name, images in progress.images.items()) / 1e9
    return {
        "bytes_up": progress.bytes_up,
        "bytes_down": progress.bytes_down,
        "bytes_peer": progress.bytes_peer,
        "bytes_dense": progress.bytes_dense,
        "bytes_whole_models": sum(sizes[name]["bytes"] * count for name, count in progress.messages.items()),
        "training_gflops": None if progress.uncounted else total,
        "backbones": sizes,
    }
