"""The scores of a run as a table: a row for each metric, a column for each role and round."""

from collections.abc import Mapping
from typing import Any

from fedbench_core.records.majority import majority_scores
from fedbench_core.records.scored import rounds_text, scored

SCORES = {
    "personalization": "personalization",
    "generalization": "generalization",
    "unseen": "unseen clients",
    "global_accuracy": "accuracy, whole test set",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC, mean over classes",
    "f1": "F1, mean over classes",
    "rarest_recall": "recall of the rarest class",
    "worst_client": "worst client",
    "worst_decile": "worst tenth of clients",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
}


def score_table(record: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows; the last column has the scores of predicting each client's most frequent class."""
    columns = {**_columns(record), "most frequent class": majority_scores(record)}
    rows = [[label, *(score_text(metrics.get(name)) for metrics in columns.values())] for name, label in SCORES.items()]
    return ["test set", *columns], [row for row in rows if any(cell != "-" for cell in row[1:])]


def _columns(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    test, selected, after = record["test"], record["selected"], rounds_text(record)
    columns: dict[str, Mapping[str, Any]] = {f"{test['role']}, {after}": scored(record).metrics}
    if selected is not None and selected["round"] != test["round"]:
        best = rounds_text(record, selected["round"]).removesuffix(" rounds")
        columns[f"{test['role']}, {best} (best on validation)"] = selected["metrics"]
    return columns | {f"{role}, {after}": scored(record, role).metrics for role in test["roles"]}


def score_text(value: float | None, digits: int = 3) -> str:
    """A score, or a hyphen for an undefined one."""
    return "-" if value is None else f"{value:.{digits}f}"
