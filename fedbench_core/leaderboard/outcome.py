"""What a leaderboard shows, in its first lines: the winners, and which entries are above the baselines."""

import math
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from fedbench_core.escapes import markdown
from fedbench_core.leaderboard.leaderboard import Leaderboard, case_labels
from fedbench_core.leaderboard.rounding import round_significant
from fedbench_core.leaderboard.table import Row, Table
from fedbench_core.leaderboard.text_tables import interval_text
from fedbench_core.suites.tables import Baselines

_MOST_CANDIDATES = 6
_HALF = 0.5
SMOKE_TEST: Final = "**This is a smoke test.** It shows that methods run, and nothing about which of them is better."


def outcome(leaderboard: Leaderboard) -> list[str]:
    """Paragraphs in Markdown: how the entries are ranked, the winner, and who is significantly above which baseline.

    The first one of a smoke test says that it is one.
    """
    return [*([SMOKE_TEST] if leaderboard.suite.smoke_test else []), *_result(leaderboard)]


def _result(leaderboard: Leaderboard) -> list[str]:
    heading, tables = leaderboard.ranked_by.heading, leaderboard.tables
    if all(table.why_unranked for table in tables):
        return [f"**Not ranked**, sorted by **{heading}**: compulsory baselines are missing (see below)."]
    baselines = leaderboard.suite.baselines
    lines = [f"Ranked by **{heading}**."]
    if not any(table.better_than(baselines.majority) for table in tables if not table.why_unranked):
        lines.insert(0, "**No entry is significantly above the most frequent class of the clients.**")
    found = [_of_table(table, winner, baselines) for table, winner in leaderboard.winners]
    if len(found) == 1:
        return [*lines, bullets(found[0])]
    labels = case_labels(leaderboard)
    return [
        *lines,
        *(f"{markdown(label)}:\n\n{bullets(sentences)}" for label, sentences in zip(labels, found, strict=True)),
    ]


def _of_table(table: Table, winner: str | None, baselines: Baselines) -> list[str]:
    if table.why_unranked:
        return ["**Not ranked**: compulsory baselines are missing (see below)."]
    candidates = [] if winner else _candidates(table)
    above = [*_above(table, baselines), *_above_controls(table)]
    return [*_winner(table, winner), *candidates, *above, *_harm(table, baselines), *_trials(table)]


def bullets(sentences: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _winner(table: Table, winner: str | None) -> list[str]:
    if winner is None:
        return ["No significant winner."]
    return [f"**{markdown(winner)}** is significantly better than all other entries{_excluded(table)}."]


def _excluded(table: Table) -> str:
    return f" (not counting {_names(table.references)})" if table.references else ""


def _candidates(table: Table) -> list[str]:
    """The entries that none but centralized training is significantly better than, with score and bytes."""
    beaten = {worse for better, worse in table.claims if better not in table.references}
    rows = [row for row in table.rows if row.entry not in {*beaten, *table.references} and row.rank is not None]
    if not rows:
        return []
    first = "; ".join(_in_short(table, row) for row in rows[:_MOST_CANDIDATES])
    more = len(rows) - _MOST_CANDIDATES
    others = f"; and {more} more" if more > 0 else ""
    but, least = _excluded(table), min(rows, key=attrgetter("megabytes"))
    cheapest = f" Of these, {_names([least.entry])} sends the least." if len(rows) > 1 else ""
    return [
        f"No entry{but} is significantly better than these (score; MB per client and round): {first}{others}.{cheapest}"
    ]


def _in_short(table: Table, row: Row) -> str:
    score = interval_text(row.intervals[table.ranked_by.name], table.ranked_by)
    return f"{_names([row.entry])} ({score}; {round_significant(row.megabytes)} MB)"


def _above(table: Table, baselines: Baselines) -> list[str]:
    score = table.ranked_by.heading
    above, flops = _names(table.better_than(baselines.majority)), _names(table.better_than(baselines.flops))
    sentences = [
        f"{score[0].upper()}{score[1:]} significantly above that of the most frequent class: {above}.",
        f"Above local training with as many FLOPs as the costliest entry: {flops}.",
    ]
    return sentences + _planned(table)


def _harm(table: Table, baselines: Baselines) -> list[str]:
    """Which entries do clients no good on their own distributions, whatever the table is ranked by."""
    means = {row.entry: row.intervals["personalization"].mean for row in table.rows}
    sentences = []
    if table.ranked_by.name != "personalization":
        below = [name for name, mean in means.items() if mean < means.get(str(baselines.majority), -math.inf)]
        sentences.append(f"Mean personalization below that of the most frequent class: {_names(below)}.")
    if table.hurt is not None:
        hurt = [row.entry for row in table.rows if row.intervals[table.hurt.name].mean > _HALF]
        hurt = [name for name in hurt if name != baselines.majority]
        sentences.append(f"More than half of the clients have a lower personalization than alone: {_names(hurt)}.")
    return sentences


def _trials(table: Table) -> list[str]:
    """How many trials the settings of a table with tuned ones were chosen from."""
    numbers = {len(choice.trials) for choice in table.tuned.values()}
    return [f"Settings are the best of {number} trials: the default and {number - 1} drawn." for number in numbers]


def _planned(table: Table) -> list[str]:
    """The planned comparisons that differ significantly; nothing if none is planned."""
    pairs = [pair for pair in table.pairs if pair.planned]
    if not pairs:
        return []
    more_is_better = table.ranked_by.more_is_better
    found = [pair.ordered(more_is_better=more_is_better) for pair in pairs if pair.significant]
    texts = [f"{_names([better])} above {_names([worse])}" for better, worse in found]
    return [f"Planned comparisons ({len(pairs)}): {'; '.join(texts) or 'none is significant'}."]


def _above_controls(table: Table) -> list[str]:
    """Which methods are better than the same without the idea that they claim."""
    controls = {name: own.name for name, own in table.controls.items() if own is not None}
    above = [name for name, control in controls.items() if name in table.better_than(control)]
    return [f"Above the same without the idea that the method claims: {_names(above)}."] if controls else []


def _names(names: Sequence[str]) -> str:
    """Names separated by commas; a name that contains a comma is quoted."""
    return ", ".join(f"“{markdown(name)}”" if "," in name else markdown(name) for name in names) or "none"
