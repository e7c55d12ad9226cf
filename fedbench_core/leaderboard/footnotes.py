"""Footnotes of tables and pages: population, seeds, tests, undefined scores, versions, definitions."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

from fedbench_core.leaderboard.baselines import ALWAYS, MEANINGS
from fedbench_core.leaderboard.columns import MEGA, heading, metric
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.misfits import Record, all_records
from fedbench_core.leaderboard.table import Table
from fedbench_core.records.scored import rounds_text, scored
from fedbench_core.statistics.friedman import DatasetRanks
from fedbench_core.statistics.pairs import POWER, STRONG_SKEW, Pair

_MOST_REFUSED = 10


class Lead(str):
    """A footnote with an emphasized beginning, or with commands at its end. As a string it is plain text."""

    __slots__ = ("commands", "lead", "text")
    lead: str
    text: str
    commands: tuple[str, ...]

    def __new__(cls, lead: str, text: str, commands: tuple[str, ...] = ()) -> Self:
        """The footnote; `text` continues the sentence that `lead` begins."""
        listed = ", and ".join(commands)
        note = super().__new__(cls, f"{lead}{text}{listed and f' {listed}.'}")
        note.lead, note.text, note.commands = lead, text, commands
        return note


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


def leaderboard_footnotes(leaderboard: Leaderboard) -> list[str]:
    """The footnotes for all tables of a leaderboard."""
    return [*_columns(leaderboard), *_definitions(leaderboard), *_reproduction(leaderboard)]


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
        f"Population: {_either(clients)} clients{_held_out(records)} with {_either(_totals(records))} training images "
        f"in total, {_range(sizes)} per client. {images['val']} validation and {images['test']} test images."
    )


def _held_out(records: list[Record]) -> str:
    counts = sorted({len((record["population"].get("held_out") or {"counts": []})["counts"]) for record in records})
    return f" ({_either(counts)} more held out of training)" if any(counts) else ""


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
        return f"{_count(len(seeds), 'seed')} ({_ranges(seeds)}), the same for all entries. {_PAIRED}"
    have = "; ".join(f"{_ranges(seeds)}: {_listed(names)}" for seeds, names in entries.items())
    return Lead("Seeds differ between entries", f" ({have}): pairs with different seeds are not tested.")


_PAIRED = "All entries have the same partition, initial weights and batches for a seed."


def _periods(table: Table) -> str:
    """Entries whose scores are means over the last rounds."""
    found: dict[str, list[str]] = {}
    for name, own in table.runs.items():
        for record in own.values():
            if len(scored(record).evaluations) > 1:
                found.setdefault(rounds_text(record), []).append(name)
    means = "; ".join(f"{_listed(list(dict.fromkeys(names)))} ({rounds})" for rounds, names in found.items())
    return means and f"Means over a period of rounds, because these scores depend on the round: {means}."


def _tests(table: Table) -> str:
    if not table.pairs:
        return ""
    families = [[pair for pair in table.pairs if pair.planned == planned] for planned in (True, False)]
    nouns = ("planned comparison", "other pair" if families[0] else "pair")
    found = [_differ(family, noun) for family, noun in zip(families, nouns, strict=True) if family]
    return f"{' and '.join(found)} of entries differ significantly."


def _differ(family: Sequence[Pair], noun: str) -> str:
    untested = sum(math.isnan(pair.p) for pair in family)
    missing = f" ({untested} not tested)" if untested else ""
    return f"{sum(pair.significant for pair in family)} of {_count(len(family), noun)}{missing}"


def _unplaced(table: Table) -> str:
    names = [row.entry for row in table.rows if row.rank == (1, len(table.rows))]
    if len(table.rows) < 2 or not names or table.why_unranked:  # noqa: PLR2004  # a single entry has the one rank
        return ""
    return f"Not placed, because no difference to another entry is significant: {_listed(names)}."


def _skewed(table: Table) -> str:
    """Pairs whose differences are dominated by few seeds, such as those in which a method failed."""
    names = [f"{pair.a} and {pair.b}" for pair in table.pairs if pair.significant and abs(pair.skewness) >= STRONG_SKEW]
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
    found = [f"{heading(name)} of a client, {_count(count, 'time')}" for name, count in sorted(inside.items())]
    for column in table.scored:
        runs = sum(row.intervals[column.name].left_out for row in table.rows)
        if runs:
            found.append(f"{column.heading} of a whole run, {_count(runs, 'time')}")
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
        f"{entry} ({name.rpartition('.')[2]} {choice.best.settings[name]})"
        for entry, choice in table.tuned.items()
        for name in choice.edges
    ]
    if edges:
        yield Lead(
            "Chosen on the edge of what was tried", f", so that a wider range may be better: {'; '.join(edges)}."
        )
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


def dataset_footnotes(over_datasets: DatasetRanks) -> list[str]:
    """The footnotes of the mean ranks over datasets."""
    notes: list[str] = [
        f"Mean ranks over {_count(over_datasets.datasets, 'dataset')}, of means over seeds and partitions."
    ]
    if over_datasets.left_out:
        notes.append(f"Left out because an entry has no score: {', '.join(over_datasets.left_out)}.")
    if over_datasets.significant:
        notes.append(
            f"Mean ranks that differ by more than {over_datasets.critical_difference:.2f} differ significantly "
            f"(Nemenyi's test; Friedman's test with Iman and Davenport's correction: p = {over_datasets.p:.2g})."
        )
    else:
        notes.append(Lead("No significant differences", f": {over_datasets.why_not}."))
    return notes


def _columns(leaderboard: Leaderboard) -> Iterator[str]:
    columns = {column.heading: column.meaning for table in leaderboard.tables for column in table.scored}
    meanings = "; ".join(f"{heading}: {meaning}" for heading, meaning in columns.items())
    yield (
        "Scores: after the last round, or over the last period where a footnote says so, on test images, mean over "
        "seeds ± half of the 95 % interval (Student's t). "
        f"{meanings[0].upper()}{meanings[1:]}."
    )
    yield (
        f"Best validation round: {leaderboard.ranked_by.heading} on test images after the round in which it is best on "
        "validation images. Nothing is selected on test images."
    )


def _definitions(leaderboard: Leaderboard) -> Iterator[str]:
    yield (
        "Rank: the interval of ranks that the significant differences allow. Pairs of entries are compared by paired "
        "t-tests, whose variance combines seeds and test images (Satterthwaite's degrees of freedom), with Holm's "
        f"correction over {_families(leaderboard)}."
    )
    yield (
        "MB (10⁶ bytes): measured size of the messages per client and round, uploaded to the server, downloaded from "
        "it, and sent between peers. Equal initial weights need no download before the first round; the one after the "
        "last round counts where the scored model is made from it. GFLOPs: training of all "
        "clients and of the server, and fine-tuning before the last prediction. Seconds: wall time of a run; machines "
        "may differ."
    )
    if any(row.fidelity != "full" for table in leaderboard.tables for row in table.rows):
        yield "† Reconstruction: details that the paper leaves open are inferred; the plugin's README lists them."
    yield from _tuning(leaderboard)
    baselines = leaderboard.suite.baselines
    named = [(kind, getattr(baselines, kind)) for kind in (*ALWAYS, "tuned")]
    rows = [f"{name} ({MEANINGS[kind]})" for kind, name in named if name]
    found = [item for table in leaderboard.tables for item in table.controls.items()]
    controls = {entry: own for entry, own in found if own is not None and own.name}
    kinds = {entry: MEANINGS["control" if own.declared else "unshared"] for entry, own in controls.items()}
    rows += [f"{own.name} (for {entry}: {kinds[entry]})" for entry, own in controls.items()]
    yield f"Baselines: {'; '.join(rows)}."


def _tuning(leaderboard: Leaderboard) -> Iterator[str]:
    """How entries were tuned, what it cost, and which were not."""
    suite = leaderboard.suite
    if suite.tuning is None:
        return
    choices = [choice for table in leaderboard.tables for choice in table.tuned.values()]
    gflops, megabytes = sum(one.gflops for one in choices), sum(one.bytes_sent for one in choices) / MEGA
    seeds = _ranges(sorted(suite.tuning.seeds))
    tuned_by = suite.ranked_by(record for table in leaderboard.tables for record in all_records(table.runs))
    yield (
        f"Tuned settings: every entry had {_count(suite.tuning.trials, 'trial')}, the first with its default settings, "
        f"with seeds {seeds}, which are none of the tables. The trial with the best {metric(tuned_by).heading} on "
        "validation images after the last round, mean over these seeds, was chosen. All trials together took "
        f"{gflops:.3g} GFLOPs and sent {megabytes:.3g} MB. Differences are between the chosen settings: that another "
        "tuning may choose others is not part of the tests."
    )
    points = suite.default_points(suite.seeds[:1])
    if missing := list(dict.fromkeys(point.entry for point in points if suite.choice(point) is None)):
        yield Lead("Not tuned", f": {_listed(missing)}.")


def _families(leaderboard: Leaderboard) -> str:
    if not any(pair.planned for table in leaderboard.tables for pair in table.pairs):
        return "all pairs of a table (family-wise error 5 %)"
    return "the planned comparisons and over all other pairs of a table (family-wise error 5 % each)"


def _reproduction(leaderboard: Leaderboard) -> Iterator[str]:
    suite = leaderboard.suite
    missing = leaderboard.grid_points - leaderboard.records
    recorded = f"{leaderboard.records} of {_count(leaderboard.grid_points, 'run')} recorded"
    yield f"{recorded} ({missing} missing)." if missing else f"{recorded}."
    if leaderboard.refused:
        files = "; ".join(f"{error.path.name} {error.reason}" for error in leaderboard.refused[:_MOST_REFUSED])
        more = len(leaderboard.refused) - _MOST_REFUSED
        further = f"; and {more} more, which fedbench leaderboard --check lists" if more > 0 else ""
        yield Lead(f"Refused and left out: {_count(len(leaderboard.refused), 'record')}", f" ({files}{further}).")
    if leaderboard.of_last_round:
        commands = (f"fedbench suite run {suite.file} --fresh",) if suite.file else ()
        yield Lead(
            "Scores of the last round only",
            f", although they depend on the round: records of {_listed(leaderboard.of_last_round)} were made before "
            "such scores were means over a period. Make them anew:",
            commands,
        )
    if leaderboard.unmatched:
        yield f"Ignored because they belong to no run of the suite: {_count(leaderboard.unmatched, 'record')}."
    yield _verified(leaderboard)
    if suite.file:
        yield Lead("", "Reproduce:", (f"fedbench suite run {suite.file}", f"fedbench leaderboard {suite.name} --write"))


def _verified(leaderboard: Leaderboard) -> str:
    """How many records were repeated with equal results, and which by whom."""
    of = f"of {_count(leaderboard.records, 'record')}"
    if not leaderboard.verified:
        return f"Verified by a second run: none {of}."
    seeds: dict[tuple[str, str], set[int]] = {}
    for table in leaderboard.tables:
        for name, own in table.runs.items():
            for seed, record in own.items():
                if names := leaderboard.verified.get(record["grid_point"]["key"]):
                    seeds.setdefault((f"{table.case}: {name}", ", ".join(names)), set()).add(seed)
    which = "; ".join(f"{run}, seed {_ranges(sorted(own))} (by {names})" for (run, names), own in seeds.items())
    return f"Verified by a second run: {len(leaderboard.verified)} {of}. {which}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    """Names separated by commas; a name that contains a comma is quoted."""
    return ", ".join(f"“{name}”" if "," in name else name for name in names)


def _either(numbers: list[int]) -> str:
    return " or ".join(map(str, numbers))


def _range(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _ranges(seeds: Sequence[int]) -> str:
    """Seeds with runs abbreviated: `0 to 11`, `0 to 2, 7`."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
