"""Numbers as tables with colored cells: who holds which images, cross-evaluation, confusion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedbench_core.records.predictions import count_text
from fedbench_core.records.scored import scored
from fedbench_core.records.scores import score_text


@dataclass(frozen=True)
class Heat:
    """Rows of cells by name; a cell is its text and the strength of its color, 0 to 1, None if it is undefined."""

    title: str
    rows_are: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, float | None]]]]


def counts(
    title: str, rows_are: str, rows: Sequence[str], columns: Sequence[str], table: Sequence[Sequence[float]]
) -> Heat:
    """Numbers of images, (rows, columns), or their means; the largest has the strongest color."""
    most = max((count for row in table for count in row), default=0) or 1
    cells = [
        (name, [(count_text(count), count / most) for count in row]) for name, row in zip(rows, table, strict=True)
    ]
    return Heat(title, rows_are, columns, cells)


def partition(record: Mapping[str, Any]) -> Heat:
    """The training images of a run by client and class."""
    table = record["population"]["counts"]
    names = [f"client {client}" for client in range(len(table))]
    title = f"Training images by client and class, seed {record['spec']['seed']}"
    return counts(title, "client", names, record["data"]["classes"], table)


def cross_evaluation(record: Mapping[str, Any], title: str) -> Heat:
    """The accuracy of each client's model on each client's class distribution."""
    rows = [
        (f"model {client}", [(score_text(one, 2), one) for one in values])
        for client, values in enumerate(scored(record).by_client)
    ]
    return Heat(title, "model of client", [f"client {client}" for client in range(len(rows))], rows)
