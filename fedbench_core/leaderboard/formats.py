"""A leaderboard for programs and papers: JSON with everything, CSV with a line for each row, LaTeX tables."""

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fedbench_core.leaderboard.columns import COSTS
from fedbench_core.leaderboard.footnotes import across_notes, under_leaderboard, under_table
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.markdown import page
from fedbench_core.leaderboard.sheets import Sheet, sheets
from fedbench_core.leaderboard.table import Row, Table


def to_value(leaderboard: Leaderboard) -> dict[str, Any]:
    """Everything that a leaderboard says, unrounded, as JSON can hold it: what is undefined is None."""
    across = None
    if leaderboard.across is not None:
        names = ("ranks", "p", "critical_difference", "claim", "why_not", "datasets", "left_out")
        across = {
            **{name: getattr(leaderboard.across, name) for name in names},
            "notes": across_notes(leaderboard.across),
        }
    value = {
        "suite": leaderboard.suite.name,
        "question": leaderboard.suite.question,
        "ranked_by": leaderboard.ranked_by.name,
        "records": leaderboard.records,
        "tables": [_table_value(table) for table in leaderboard.tables],
        "across": across,
        "notes": under_leaderboard(leaderboard),
    }
    plain: dict[str, Any] = _plain(value)
    return plain


def to_json(leaderboard: Leaderboard) -> str:
    """The leaderboard as JSON."""
    return json.dumps(to_value(leaderboard), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(leaderboard: Leaderboard) -> str:
    """A line for each row of each table: mean, low and high of every column, unrounded; empty where undefined."""
    sheet = io.StringIO(newline="")
    lines = [_line(table, row) for table in leaderboard.tables for row in table.rows]
    writer = csv.DictWriter(sheet, list(lines[0]) if lines else ["entry"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return sheet.getvalue()


def to_latex(leaderboard: Leaderboard) -> str:
    """Tables for each case (qualities, costs, origins), for the packages booktabs and graphicx."""
    parts = [f"% fedbench leaderboard {leaderboard.suite.name} --format latex"]
    for table in leaderboard.tables:
        parts += [_latex(sheet, f"{leaderboard.suite.name}: {table.case}") for sheet in sheets(table)]
    return "\n\n".join(parts) + "\n"


def _table_value(table: Table) -> dict[str, Any]:
    return {
        **asdict(table.case),
        "rows": [asdict(row) for row in table.rows],
        "pairs": [asdict(pair) for pair in table.pairs],
        "smallest_claimable": table.smallest,
        "image_check": table.image_check,
        "left_out": [str(over) for over in table.left_out],
        "notes": under_table(table),
    }


def _line(table: Table, row: Row) -> dict[str, Any]:
    line: dict[str, Any] = {**asdict(table.case), "rank_best": row.rank[0], "rank_worst": row.rank[1]}
    line |= {name: getattr(row, name) for name in ("entry", "method", "plugin", "fidelity")}
    line |= {"backbones_resolved": row.backbones}
    for column in (*table.quality, *COSTS):
        interval = row.values[column.name]
        for part in ("mean", "low", "high"):
            value = getattr(interval, part)
            line[f"{column.name}_{part}"] = "" if math.isnan(value) else value
        line[f"{column.name}_seeds"] = interval.count
    return line


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$^\dagger$",
}


def _latex(sheet: Sheet, caption: str) -> str:
    """A table; own code because pandas' needs another library to write one."""
    aligned = "".join("l" if heading in sheet.left else "r" for heading in sheet.headings)
    rows = [" & ".join(map(_escaped, row)) + r" \\" for row in sheet.rows]
    head = " & ".join(map(_escaped, sheet.headings)) + r" \\"
    return "\n".join(
        [
            *(r"\begin{table}", r"\centering", rf"\caption{{{_escaped(caption)}}}", r"\resizebox{\linewidth}{!}{%"),
            *(rf"\begin{{tabular}}{{{aligned}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"),
            *(r"\end{tabular}}", r"\end{table}"),
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


FORMATTED: dict[str, Callable[[Leaderboard], str]] = {
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
    "markdown": page,
}
