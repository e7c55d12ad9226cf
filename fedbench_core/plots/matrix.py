"""The cross-evaluation matrix of a run, as a heat map."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedbench_core.records.scored import rounds_text, scored

_DARK_BELOW = 0.5
_NUMBERS_UP_TO = 12
"""With more clients there is no room for numbers."""


def draw_matrix(record: dict[str, Any]) -> Figure:
    """Accuracy of each client's model (rows) on each client's label distribution (columns)."""
    scores = np.array(scored(record).by_client, np.float64)
    clients = len(scores)
    labels = [_label(record, client) for client in range(clients)]
    side = min(9.0, max(3.6, 0.62 * clients))
    figure = Figure(figsize=(side + 1.8 + 0.1 * max(map(len, labels)), side + 1.3), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(scores, cmap="cividis", vmin=0, vmax=1)
    axes.set_xlabel("distribution of client")
    axes.set_ylabel("model of client")
    ticks = range(0, clients, max(1, clients // _NUMBERS_UP_TO))
    axes.set_xticks(ticks)
    axes.set_yticks(ticks, [labels[client] for client in ticks])
    axes.spines[:].set_visible(False)
    if clients <= _NUMBERS_UP_TO:
        for (row, column), score in np.ndenumerate(scores):
            _write(axes, row, column, score)
    figure.colorbar(image, label="accuracy", shrink=0.8)
    figure.suptitle(_title(record))
    return figure


def _write(axes: Any, row: int, column: int, score: float) -> None:
    known = not np.isnan(score)
    color = "white" if known and score < _DARK_BELOW else "black"
    axes.text(column, row, f"{score:.2f}" if known else "–", ha="center", va="center", color=color, fontsize="small")


def _title(record: dict[str, Any]) -> str:
    metrics = scored(record).metrics
    return (
        f"{record['spec']['method']} on {record['data']['name']}\n"
        f"{rounds_text(record)}\n"
        f"personalization {_number(metrics['personalization'])}\n"
        f"generalization {_number(metrics['generalization'])}"
    )


def _label(record: dict[str, Any], client: int) -> str:
    backbones = record["population"]["backbones"]
    mixed = len(set(backbones)) > 1
    return f"{client} {backbones[client]}" if mixed else str(client)


def _number(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.3f}"
