"""Pictures of records, in colours that the colour-blind can tell apart."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedbench_core.api import RequestError

FORMATS = (".svg", ".png", ".pdf")
_DARK_BELOW = 0.5
_NUMBERS_UP_TO = 12
"""More clients than that leave no room for numbers in the cells."""


def plot_matrix(record: dict[str, Any], path: Path) -> None:
    """Draw who predicts how well for whom: rows are clients' models, columns clients' distributions.

    RequestError for an ending that is no picture's.
    """
    if path.suffix not in FORMATS:
        raise RequestError(f"{path}: expected a name that ends in {', '.join(FORMATS)}.")
    matrix = record["test"]["matrix"]
    rows = [matrix[matrix["primary"]][row] for row in matrix["predictor_of_client"]]
    scores = np.array([[np.nan if score is None else score for score in row] for row in rows])
    clients = len(scores)
    labels = [_label(record, client) for client in range(clients)]
    side = max(3.2, 0.45 * clients)
    figure = Figure(figsize=(side + 1.6 + 0.08 * max(map(len, labels)), side + 0.9), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(scores, cmap="cividis", vmin=0, vmax=1)
    axes.set_xlabel("distribution of client")
    axes.set_ylabel("model of client")
    ticks = range(0, clients, max(1, clients // _NUMBERS_UP_TO))
    axes.set_xticks(ticks)
    axes.set_yticks(ticks, [labels[client] for client in ticks])
    if clients <= _NUMBERS_UP_TO:
        for (row, column), score in np.ndenumerate(scores):
            colour = "white" if score < _DARK_BELOW else "black"
            axes.text(column, row, f"{score:.2f}", ha="center", va="center", color=colour)
    figure.colorbar(image, label="accuracy", shrink=0.8)
    metrics = record["test"]["metrics"]
    figure.suptitle(
        f"{record['spec']['method']} on {record['data']['name']}\n"
        f"personalisation {_number(metrics['personalisation'])}, generalisation {_number(metrics['generalisation'])}",
        fontsize="medium",
    )
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _label(record: dict[str, Any], client: int) -> str:
    backbones = record["population"]["backbones"]
    mixed = len(set(backbones)) > 1
    return f"{client} {backbones[client]}" if mixed else str(client)


def _number(score: float | None) -> str:
    return "undefined" if score is None else f"{score:.3f}"
