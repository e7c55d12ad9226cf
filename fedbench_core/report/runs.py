"""A run as what the template of the report shows: scores, settings, curves, classes, clients, bytes and images."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fedbench_core.api.errors import RequestError, RunError
from fedbench_core.escapes import line
from fedbench_core.leaderboard.columns import heading, personalization_by_client
from fedbench_core.leaderboard.text_tables import TextTable
from fedbench_core.records.predictions import class_scores, confusion
from fedbench_core.records.record import RECORD
from fedbench_core.records.scores import score_table, score_text
from fedbench_core.report import charts
from fedbench_core.report.heat import Heat, counts, cross_evaluation, partition
from fedbench_core.report.vega import Chart

if TYPE_CHECKING:
    from fedbench_core.report.examples import Sample

_CURVES = ("personalization", "generalization", "balanced_accuracy", "auc", "worst_client")
_MOST_CLIENTS = 40
"""The matrix of more clients is a picture rather than a table: `fedbench plot matrix`."""
_WAYS = ("up", "down", "peer")


@dataclass(frozen=True)
class RunSection:
    """A run in the report. sample: images with what a kept model predicts; why_not: why there are none."""

    title: str
    summary: str
    command: str
    notes: Sequence[str]
    scores: TextTable
    charts: Sequence[Chart]
    classes: TextTable
    clients: TextTable
    settings: TextTable
    versions: TextTable
    partition: Heat
    matrix: Heat | None
    confusion: Heat | None
    sample: "Sample | None"
    why_not: str


def run_section(path: Path, record: Mapping[str, Any], number: int) -> RunSection:
    """What the report shows of a run, given by its folder or its record. number: its place, for the names of charts."""
    spec = record["spec"]
    folder = path if path.is_dir() else path.parent if path.name == RECORD else None
    sample, why_not = _sample(folder, record)
    headings, rows = score_table(record)
    matrix = record["population"]["clients"] <= _MOST_CLIENTS
    return RunSection(
        title=f"{spec['method']} on {record['data']['name']}, seed {spec['seed']} ({record['spec_digest'][:8]})",
        summary=_summary(record),
        command=f"fedbench run --config {shlex.quote(line(str(path / RECORD if path.is_dir() else path)))} --fresh",
        notes=record["notes"],
        scores=TextTable(headings, rows, frozenset({"test set"})),
        charts=list(_charts(folder, record, f"r{number}")),
        classes=_classes(record),
        clients=_clients(record),
        settings=_settings(spec),
        versions=_pairs("package", "version", record["versions"]),
        partition=partition(record),
        matrix=cross_evaluation(record, "Accuracy on the class distribution of each client") if matrix else None,
        confusion=_confusion(record),
        sample=sample,
        why_not=why_not,
    )


def _sample(folder: Path | None, record: Mapping[str, Any]) -> "tuple[Sample | None, str]":
    """Example images; or None and why there are none."""
    if folder is None or not (folder / "models").exists():
        return None, "Example images need the models of the run: fedbench run --keep models."
    from fedbench_core.report.examples import read_sample  # noqa: PLC0415  # torch, which no other page needs

    return read_sample(folder, record)


def _summary(record: Mapping[str, Any]) -> str:
    method, data, population = record["method"], record["data"], record["population"]
    paper = f" {method['paper']}." if method["paper"] else ""
    fidelity = "" if method["fidelity"] == "full" else f" Fidelity: {method['fidelity']}."
    images = f"{data['images']['train']} training images of {len(data['classes'])} classes"
    took = f"{record['spec']['rounds']} rounds in {record['how']['seconds']:.0f} s"
    return f"{method['summary']}{paper}{fidelity} {population['clients']} clients with {images}; {took}."


def _charts(folder: Path | None, record: Mapping[str, Any], name: str) -> Iterator[Chart]:
    points = [point for point in record["curve"] if point["split"] == "val"]
    scores = [
        {"round": point["round"] + 1, "metric": heading(metric), "score": round(point[metric], 4)}
        for point in points
        for metric in _CURVES
        if point.get(metric) is not None
    ]
    if len(points) > 1 and scores:
        yield charts.run_curve(f"{name}-curve", scores)
    table = None if folder is None else folder / "clients.csv"
    rows = _bytes_by_round(table) if table is not None and table.exists() else []
    if rows:
        yield charts.bytes_by_round(f"{name}-bytes", rows)


def _bytes_by_round(table: Path) -> list[dict[str, Any]]:
    """Megabytes by round and way; RunError for a file that no run wrote: older records hold no digest of it."""
    try:
        sums = pd.read_csv(table).groupby("round")[[f"bytes_{way}" for way in _WAYS]].sum() / 1e6
        return [
            {"round": int(str(round_)) + 1, "way": way, "mb": float(f"{mb:.6g}")}
            for way in _WAYS
            for round_, mb in sums[f"bytes_{way}"].items()
            if mb
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{table} could not be read as the clients of a run: {reason}. Restore it, or remove it."
        ) from error


def _classes(record: Mapping[str, Any]) -> TextTable:
    """The scores of each class; precision and F1 only where the record holds predictions."""
    rows = [
        [one.name, str(one.images), *map(score_text, (one.recall, one.worst, one.precision, one.f1))]
        for one in class_scores(record)
    ]
    headings = ["class", "test images", "recall, mean over clients", "worst client", "precision", "F1"]
    return TextTable(headings, rows, frozenset({"class"}))


def _confusion(record: Mapping[str, Any]) -> Heat | None:
    """The confusion matrix of the recorded predictions; None for a task or an earlier version that has none."""
    try:
        table = confusion(record)
    except RequestError:
        return None
    if np.isnan(table).any():  # no client has a model
        return None
    title = "Test images by true class (rows) and predicted class (columns), mean over the clients' models"
    return counts(title, "true class", record["data"]["classes"], record["data"]["classes"], table.tolist())


def _clients(record: Mapping[str, Any]) -> TextTable:
    """The images, the site and the backbone of each client, and the accuracy of its model on its own distribution."""
    population = record["population"]
    columns: dict[str, Sequence[object]] = {
        "client": range(population["clients"]),
        **({"site": population["sites"]} if "sites" in population else {}),
        **({"backbone": population["backbones"]} if len(population["backbones"]) == population["clients"] else {}),
        **{f"{split} images": population["images"][split] for split in ("train", "val", "test")},
        "personalization": list(map(score_text, personalization_by_client(record))),
    }
    rows = [list(map(str, row)) for row in zip(*columns.values(), strict=True)]
    return TextTable(list(columns), rows, frozenset({"client", "site", "backbone"}))


def _settings(spec: Mapping[str, Any]) -> TextTable:
    own = {name: value for name, value in spec.items() if name != "set" and value is not None}
    return _pairs("setting", "value", {**own, **{f"--set {name}": value for name, value in spec["set"].items()}})


def _pairs(name: str, value: str, items: Mapping[str, Any]) -> TextTable:
    rows = [[key, ", ".join(map(str, one)) if isinstance(one, list) else str(one)] for key, one in items.items()]
    return TextTable([name, value], rows, frozenset({name, value}))
