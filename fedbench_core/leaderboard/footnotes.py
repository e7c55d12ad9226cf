"""Footnotes of one table: population, seeds, tests, undefined scores, versions, tuning."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from fedbench_core.leaderboard.columns import heading
from fedbench_core.leaderboard.misfits import Record, all_records
from fedbench_core.leaderboard.phrases import Lead, count, either, listed, ranges, span
from fedbench_core.leaderboard.table import Table
from fedbench_core.records.scored import rounds_text, scored
from fedbench_core.statistics.pairs import POWER, STRONG_SKEW, Pair

_BEYOND_DOUBT = 1e-3
"""Corrected p-values below which a few seeds do not decide: such as those against the most frequent class."""


def table_footnotes(table: Table) -> list[str]:
    """The footnotes of one table."""
    return [
        note
        for note in (
            _unranked(table),
            _population(table),
            _seeds(table),
            _periods(table),
            _tests(table),
            _unplaced(table),
            _skewed(table),
            _minimum_detectable(table),
            _image_check(table),
            _undefined(table),
            _versions(table),
            *_budgets(table),
            *_tuned(table),
            _unpublished(table),
        )
        if note
    ]


def _unranked(table: Table) -> str:
    if not table.why_unranked:
        return ""
    missing = f": compulsory baselines are missing: {'; '.join(table.why_unranked)}."
    if table.commands:
        return Lead("Not ranked", f"{missing} Compute them, and add their folders:", table.commands)
    # a record doesn't show whether the two models of an entry train each other
    advice = "Name them under [baselines] in the suite, and run what is missing."
    if any(reason.startswith("unshared") for reason in table.why_unranked):
        advice += " For two models that don't train each other, name the baseline for steps as their control."
    return Lead("Not ranked", f"{missing} {advice}")


def _population(table: Table) -> str:
    records = [record for record in all_records(table.runs) if record["population"]["clients"]]
    if not records:
        return ""
    clients = sorted({record["population"]["clients"] for record in records})
    images = records[0]["data"]["images"]
    sizes = [size for record in records for size in record["population"]["images"]["train"]]
    return (
        f"Population: {either(clients)} clients{_held_out(records)} with {either(_totals(records))} training images "
        f"in total, {span(sizes)} per client. {images['val']} validation and {images['test']} test images."
    )


def _held_out(records: list[Record]) -> str:
    counts = sorted({len((record["population"].get("held_out") or {"counts": []})["counts"]) for record in records})
    return f" ({either(counts)} more held out of training)" if any(counts) else ""


def _totals(records: list[Record]) -> list[int]:
    return sorted({sum(record["population"]["images"]["train"]) for record in records})


def _seeds(table: Table) -> str:
    entries: dict[tuple[int, ...], list[str]] = {}
    for name, own in table.runs.items():
        entries.setdefault(tuple(sorted(own)), []).append(name)
    if not entries:
        return ""
    if len(entries) == 1:
        [seeds] = entries
        return f"{count(len(seeds), 'seed')} ({ranges(seeds)}), the same for all entries. {_PAIRED}"
    have = "; ".join(f"{ranges(seeds)}: {listed(names)}" for seeds, names in entries.items())
    return Lead("Seeds differ between entries", f" ({have}): pairs with different seeds are not tested.")


_PAIRED = "All entries have the same partition, initial weights and batches for a seed."


def _periods(table: Table) -> str:
    """Entries whose scores are means over the last rounds."""
    found: dict[str, list[str]] = {}
    for name, own in table.runs.items():
        for record in own.values():
            if len(scored(record).evaluations) > 1:
                found.setdefault(rounds_text(record), []).append(name)
    means = "; ".join(f"{listed(list(dict.fromkeys(names)))} ({rounds})" for rounds, names in found.items())
    return means and f"Means over a period of rounds, because these scores depend on the round: {means}."


def _tests(table: Table) -> str:
    if not table.pairs:
        return ""
    groups = [[pair for pair in table.pairs if pair.planned == planned] for planned in (True, False)]
    nouns = ("planned comparison", "other pair" if groups[0] else "pair")
    found = [_differ(group, noun) for group, noun in zip(groups, nouns, strict=True) if group]
    return f"{' and '.join(found)} of entries differ significantly."


def _differ(pairs: Sequence[Pair], noun: str) -> str:
    untested = sum(math.isnan(pair.p) for pair in pairs)
    missing = f" ({untested} not tested)" if untested else ""
    return f"{sum(pair.significant for pair in pairs)} of {count(len(pairs), noun)}{missing}"


def _unplaced(table: Table) -> str:
    names = [row.entry for row in table.rows if row.rank == (1, len(table.rows))]
    if len(table.rows) < 2 or not names or table.why_unranked:  # noqa: PLR2004  # a single entry has the one rank
        return ""
    return f"Not placed, because no difference to another entry is significant: {listed(names)}."


def _skewed(table: Table) -> str:
    """Pairs whose differences are dominated by few seeds, such as those in which a method failed."""
    doubtful = [pair for pair in table.pairs if pair.significant and abs(pair.skewness) >= STRONG_SKEW]
    names = [f"{pair.a} and {pair.b}" for pair in doubtful if pair.p_holm >= _BEYOND_DOUBT]
    if not names:
        return ""
    return Lead("Few seeds dominate these differences, so that the t-test may claim too much", f": {'; '.join(names)}.")


def _minimum_detectable(table: Table) -> str:
    smallest = table.minimum_detectable_difference
    if math.isnan(smallest):
        return ""
    return f"Minimum detectable difference in {table.ranked_by.heading} (power {POWER:.0%}): {smallest:.2g}."


def _image_check(table: Table) -> str:
    if len(table.rows) < 2:  # noqa: PLR2004  # a single entry has no pairs
        return ""
    if table.image_check:
        return "The tests include the sampling of test images."
    return (
        "The tests are over seeds only, without the sampling of test images: that requires a metric that is a mean "
        "over images, and the same assignment of test images to clients in all runs; or macro-AUC, and records that "
        "keep what each image contributes to it."
    )


def _undefined(table: Table) -> str:
    """Undefined scores of single clients or classes within a run, and of whole runs."""
    inside: Counter[str] = Counter()
    for record in all_records(table.runs):
        inside.update(scored(record).undefined)
    found = [f"{heading(name)} of a client, {count(times, 'time')}" for name, times in sorted(inside.items())]
    for column in table.scored:
        runs = sum(row.intervals[column.name].left_out for row in table.rows)
        if runs:
            found.append(f"{column.heading} of a whole run, {count(runs, 'time')}")
    return f"Undefined and left out of means: {'; '.join(found)}." if found else "No undefined scores."


def _versions(table: Table) -> str:
    """Libraries of which the records have different versions."""
    used: dict[str, set[str]] = {}
    for record in all_records(table.runs):
        for name, version in record["versions"].items():
            used.setdefault(name, set()).add(version)
    mixed = [f"{name} {', '.join(sorted(versions))}" for name, versions in sorted(used.items()) if len(versions) > 1]
    return Lead("Versions differ between records", f": {'; '.join(mixed)}.") if mixed else ""


def _budgets(table: Table) -> Iterator[str]:
    for budget in dict.fromkeys(over.budget for over in table.left_out):
        entries = "; ".join(str(over) for over in table.left_out if over.budget == budget)
        yield f"Left out because they exceed {budget.text}: {entries}."


def _tuned(table: Table) -> Iterator[str]:
    """Where tuning may have missed the best settings: at the edge of a range, and in trials that failed."""
    edges = [
        f"{entry} ({name.rpartition('.')[2]} {value})"
        for entry, choice in table.tuned.items()
        for name, value in choice.edges.items()
    ]
    if edges:
        yield Lead("Chosen at the edge of the range", f", so that a wider range may be better: {'; '.join(edges)}.")
    if failed := [f"{entry} {choice.failed}" for entry, choice in table.tuned.items() if choice.failed]:
        yield f"Trials that failed, and counted as worst: {', '.join(failed)}."
    fixed = [f"{entry} ({', '.join(choice.fixed)})" for entry, choice in table.tuned.items() if choice.fixed]
    if fixed:
        yield f"‡ Tuned otherwise, because the suite sets what is tuned in the other entries: {'; '.join(fixed)}."


def _unpublished(table: Table) -> str:
    if all(record["data"]["official"] for record in all_records(table.runs)):
        return ""
    name = table.case.dataset
    return f"Not a published dataset: the images of {name} are generated, or differ from the published files."
