"""A leaderboard as JSON with all values, CSV with a line for each row, LaTeX tables, or Markdown."""

from collections.abc import Callable
from csv import DictWriter
from dataclasses import asdict
from io import StringIO
from math import isnan
from typing import Any

from pydantic_core import to_json as as_json

from fedbench_core.escapes import csv, latex, line
from fedbench_core.leaderboard.columns import COSTS
from fedbench_core.leaderboard.definitions import dataset_footnotes, leaderboard_footnotes
from fedbench_core.leaderboard.footnotes import table_footnotes
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.markdown import page
from fedbench_core.leaderboard.table import Row, Table
from fedbench_core.leaderboard.text_tables import TextTable, text_tables


def to_json(leaderboard: Leaderboard) -> str:
    """All values of a leaderboard as JSON, unrounded; undefined values are null."""
    value = {
        "suite": leaderboard.suite.name,
        "question": leaderboard.suite.question,
        "ranked_by": leaderboard.ranked_by.name,
        "records": leaderboard.records,
        "tables": [_table_value(table) for table in leaderboard.tables],
        "over_datasets": _dataset_value(leaderboard),
        "footnotes": leaderboard_footnotes(leaderboard),
    }
    return as_json(value, indent=1, inf_nan_mode="null").decode() + "\n"


def to_csv(leaderboard: Leaderboard) -> str:
    """A line for each row of each table, with unrounded numbers; undefined values are empty."""
    rows = [_csv_line(table, row) for table in leaderboard.tables for row in table.rows]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["entry"]
    text = StringIO()
    writer = DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv(value) for name, value in row.items() if not _is_nan(value)} for row in rows)
    return text.getvalue()


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and isnan(value)


def to_latex(leaderboard: Leaderboard) -> str:
    """Three tables for each case (scores, costs, origins), for the packages booktabs and graphicx."""
    parts = [f"% fedbench leaderboard {line(leaderboard.suite.name)} --format latex"]
    for table in leaderboard.tables:
        parts += [latex_table(part, f"{leaderboard.suite.name}: {table.case}") for part in text_tables(table)]
    return "\n\n".join(parts) + "\n"


def _table_value(table: Table) -> dict[str, Any]:
    return {
        **asdict(table.case),
        "rows": table.rows,
        "pairs": table.pairs,
        "minimum_detectable_difference": table.minimum_detectable_difference,
        "image_check": table.image_check,
        "left_out": [str(over) for over in table.left_out],
        "why_unranked": table.why_unranked,
        "footnotes": table_footnotes(table),
    }


def _dataset_value(leaderboard: Leaderboard) -> dict[str, Any] | None:
    over_datasets = leaderboard.over_datasets
    if over_datasets is None:
        return None
    names = ("ranks", "p", "critical_difference", "significant", "why_not", "datasets", "left_out")
    value = {name: getattr(over_datasets, name) for name in names}
    return {**value, "footnotes": dataset_footnotes(over_datasets)}


def _csv_line(table: Table, row: Row) -> dict[str, Any]:
    best, worst = row.rank or (None, None)
    line: dict[str, Any] = {**asdict(table.case), "rank_best": best, "rank_worst": worst}
    line |= {name: getattr(row, name) for name in ("entry", "method", "plugin", "fidelity")}
    line |= {"backbones_resolved": row.backbones}
    for column in (*table.quality, *COSTS):
        interval = row.intervals[column.name]
        line |= {f"{column.name}_{part}": getattr(interval, part) for part in ("mean", "low", "high")}
        line[f"{column.name}_seeds"] = interval.count
    return line


def latex_table(table: TextTable, caption: str) -> str:
    """A table that is scaled to the width of the line."""
    aligned = "".join("l" if heading in table.left else "r" for heading in table.headings)
    head, *rows = (rf"{' & '.join(map(latex, row))} \\" for row in (table.headings, *table.rows))
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}}}", r"\resizebox{\linewidth}{!}{%"]
    lines += [rf"\begin{{tabular}}{{{aligned}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}}", r"\end{table}"])


FORMATTED: dict[str, Callable[[Leaderboard], str]] = {
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
    "markdown": page,
}
