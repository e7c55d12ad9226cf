"""Records that don't fit the others of their case: other images, another partition, or the results of another seed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fedbench_core.records.scored import scored

Record = Mapping[str, Any]
Runs = Mapping[str, Mapping[int, Record]]
"""Entry -> seed -> record, in the order of the suite's entries."""
_PARTITION = ("clients", "hold_out_clients", "hold_out_sites", "limit", "public", "image_size", "partitioner")
"""The settings on which the partition of a seed depends, besides options of the dataset and the partitioner."""


def all_records(runs: Runs) -> list[Record]:
    """The records of all entries and seeds."""
    return [record for own in runs.values() for record in own.values()]


def run_name(record: Record) -> str:
    """The entry and seed of a record."""
    return f"{record['grid_point']['entry']}, seed {record['grid_point']['seed']}"


def misfits(runs: Runs) -> dict[str, str]:
    """Why a record doesn't fit the others of its case, by the key of its grid point.

    Runs of one case have the same images, runs of one seed the same partition, and runs of one entry the same settings.
    What most records have is taken to be right.
    """
    records = all_records(runs)
    odd = dict(_unlike(records, _images, "other images"))
    by_partition: dict[str, list[Record]] = {}
    for record in records:
        by_partition.setdefault(_partition_settings(record), []).append(record)
    for same in by_partition.values():
        odd |= dict(_unlike(same, _partition, "another partition"))
    for own in runs.values():
        odd |= dict(_unlike(list(own.values()), _settings, "other settings than the seed"))
        odd |= dict(_repeated(list(own.values())))
    return odd


def _unlike(records: Sequence[Record], value: Callable[[Record], object], what: str) -> Iterator[tuple[str, str]]:
    """The records whose value is not that of the most records."""
    found: list[tuple[object, list[Record]]] = []
    for record in records:
        own = value(record)
        same = next((others for known, others in found if known == own), None)
        if same is None:
            found.append((own, [record]))
        else:
            same.append(record)
    most = max((same for _, same in found), key=len, default=[])
    for _, others in found:
        if others is not most:
            yield from ((record["grid_point"]["key"], f"has {what}, unlike {run_name(most[0])}") for record in others)


def _images(record: Record) -> object:
    groups = record["test"]["groups"]
    return record["data"], groups["images"] if groups["of"] == "class" else ""


def _partition_settings(record: Record) -> str:
    spec = record["spec"]
    options = {name: value for name, value in spec["set"].items() if name.startswith(("partitioner.", "dataset."))}
    return str((spec["seed"], [spec.get(name) for name in _PARTITION], sorted(options.items())))


def _partition(record: Record) -> object:
    population, groups = record["population"], record["test"]["groups"]
    return population["images"], population["counts"], groups["images"] if groups["of"] == "client" else ""


def _settings(record: Record) -> object:
    """Without options: one version may have an option that another lacks. With the number of rounds that are scored."""
    return {**record["spec"], "seed": None, "set": None}, len(scored(record).evaluations)


def _repeated(own: Sequence[Record]) -> Iterator[tuple[str, str]]:
    """Records of one entry with equal results for different seeds. Without training, that may happen."""
    seen: dict[tuple[str, ...], list[Record]] = {}
    for record in own:
        alike = seen.setdefault(tuple(record["test"]["correct"]), [])
        first = next((one for one in alike if _results(one) == _results(record)), None)
        alike.append(record)
        if first is not None and record["costs"]["training_gflops"] != 0:  # None: not known
            yield record["grid_point"]["key"], f"has the results of {run_name(first)}"


def _results(record: Record) -> object:
    return record["test"], record["curve"]
