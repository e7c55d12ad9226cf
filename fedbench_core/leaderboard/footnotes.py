"""The sentences under a table: what was measured on whom, how often, and what may be claimed."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from fedbench_core.leaderboard.baselines import MEANINGS
from fedbench_core.leaderboard.cases import Record, each
from fedbench_core.leaderboard.columns import heading, scores
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.table import Table
from fedbench_core.statistics.datasets import Across
from fedbench_core.statistics.images import IMAGES_DISAGREE


def under_table(table: Table) -> list[str]:
    """What holds for one table."""
    return [
        note
        for note in (
            _population(table),
            _seeds(table),
            _claims(table),
            _smallest(table),
            _images(table),
            _undefined(table),
            _versions(table),
            *_budgets(table),
            _unofficial(table),
        )
        if note
    ]


def under_leaderboard(leaderboard: Leaderboard) -> list[str]:
    """What holds for all of a leaderboard's tables."""
    return [note for note in (*_columns(leaderboard), *_reading(leaderboard), *_reproduction(leaderboard)) if note]


def _population(table: Table) -> str:
    records = [record for record in each(table.runs) if record["population"]["clients"]]
    if not records:
        return ""
    clients = sorted({record["population"]["clients"] for record in records})
    images = records[0]["data"]["images"]
    shares = [size for record in records for size in record["population"]["images"]["train"]]
    return (
        f"Population: {_either(clients)} clients, who share {_either(_totals(records))} training images; each has "
        f"{_range(shares)} of them. {images['val']} validation and {images['test']} test images."
    )


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
    return f"**Seeds differ between entries** ({have}): no paired test where they do, so nothing is claimed there."


_PAIRED = "A seed draws the shares, the initial weights and the batches, alike for every entry."


def _claims(table: Table) -> str:
    claimed = sum(pair.significant for pair in table.pairs)
    untested = sum(bool(math.isnan(pair.p)) for pair in table.pairs)
    if not table.pairs:
        return ""
    undone = sum(pair.why_not == IMAGES_DISAGREE for pair in table.pairs)
    taken_back = f"; {undone} more by seeds alone, which another draw of test images could undo" if undone else ""
    missing = f"; {untested} without a test" if untested else ""
    return f"{claimed} of {_count(len(table.pairs), 'pair')} of entries are told apart{taken_back}{missing}."


def _smallest(table: Table) -> str:
    if math.isnan(table.smallest):
        return ""
    return (
        f"Noise floor: of two entries that vary as most do, a difference in {table.ranked_by.heading} of about "
        f"{table.smallest:.2g} is the smallest that these seeds could claim on its own."
    )


def _images(table: Table) -> str:
    if len(table.rows) < 2:  # noqa: PLR2004  # one entry has nothing to be told apart from
        return ""
    if table.image_check:
        return "A claim must hold against another draw of the test images as well (paired bootstrap over images)."
    return (
        f"Claims are over seeds alone: {table.ranked_by.heading} is not held against another draw of the test images, "
        "because it is no mean of right and wrong over images, or its images are dealt otherwise by each seed."
    )


def _undefined(table: Table) -> str:
    """Single clients or classes within a run, and whole runs, that a mean leaves out."""
    inside: Counter[str] = Counter()
    for record in each(table.runs):
        inside.update(record["test"]["undefined"])
    told = [f"{heading(name)} of a client, {_count(count, 'time')}" for name, count in sorted(inside.items())]
    for column in scores(table.ranked_by):
        runs = sum(row.values[column.name].left_out for row in table.rows)
        if runs:
            told.append(f"{column.heading} of a whole run, {_count(runs, 'time')}")
    return f"Undefined, and left out of sums and counts: {'; '.join(told)}." if told else "No score was undefined."


def _versions(table: Table) -> str:
    """Told where the same entry, or two, were computed with different libraries."""
    used: dict[str, set[str]] = {}
    for record in each(table.runs):
        for name, version in record["versions"].items():
            used.setdefault(name, set()).add(version)
    mixed = [f"{name} {', '.join(sorted(versions))}" for name, versions in sorted(used.items()) if len(versions) > 1]
    return f"**Versions differ between records**: {'; '.join(mixed)}." if mixed else ""


def _budgets(table: Table) -> Iterator[str]:
    for budget in dict.fromkeys(over.budget for over in table.left_out):
        gone = "; ".join(str(over) for over in table.left_out if over.budget == budget)
        yield f"Left out, beyond {budget.words}: {gone}."


def _unofficial(table: Table) -> str:
    records = each(table.runs)
    official = all(record["data"]["official"] for record in records)
    return "" if official else f"Not the published images of {table.case.dataset}."


def across_notes(across: Across) -> list[str]:
    """What is said of the mean ranks over datasets."""
    notes = [f"Mean ranks over {_count(across.datasets, 'dataset')}; seeds and partitions are averaged first."]
    if across.left_out:
        notes.append(f"Left out, because not every entry has a score there: {', '.join(across.left_out)}.")
    if across.claim:
        notes.append(
            f"Ranks that differ by more than {across.critical_difference:.2f} are told apart "
            f"(Nemenyi; Friedman's test with Iman and Davenport's correction: p = {across.p:.2g})."
        )
    else:
        notes.append(f"**No claim**: {across.why_not}.")
    return notes


def _columns(leaderboard: Leaderboard) -> Iterator[str]:
    meanings = "; ".join(f"{column.heading}: {column.meaning}" for column in scores(leaderboard.ranked_by))
    yield (
        "Estimand: the score after the last round, on test images, as expected of another seed; ± is half "
        f"of its 95 % interval over seeds (Student's t). {meanings[0].upper()}{meanings[1:]}."
    )
    yield (
        f"Validated round: {leaderboard.ranked_by.heading} on test images after the round in which it was best on "
        "validation images. Test images choose nothing."
    )


def _reading(leaderboard: Leaderboard) -> Iterator[str]:
    yield (
        "Rank: from one more than the entries claimed to be better, to all but those claimed to be worse. Claims: "
        "paired t-tests over seeds for every pair of entries, with Holm's correction over all pairs of a table (5 %)."
    )
    yield (
        "MB (10⁶ bytes) are measured on what was sent, per client and round: up to the server, down from it, and between "
        "peers. With everybody present that is R uploads and R - 1 downloads of each client, because equal initial "
        "weights need no broadcast; papers quote 2R. GFLOPs: training of the whole federation. Seconds: on whatever "
        "machine the record was made."
    )
    if any(row.fidelity != "full" for table in leaderboard.tables for row in table.rows):
        yield "† Reconstruction: the method's paper leaves open what its plugin's README lists as inferred."
    baselines = leaderboard.suite.baselines
    named = [(kind, getattr(baselines, kind)) for kind in ("steps", "flops", "centralized", "tuned")]
    rows = [f"{name} ({MEANINGS[kind]})" for kind, name in named if name]
    rows += [f"{name} ({entry} with {MEANINGS['unshared']})" for entry, name in baselines.unshared.items()]
    yield f"Rows to compare with: {'; '.join(rows)}."


def _reproduction(leaderboard: Leaderboard) -> Iterator[str]:
    suite = leaderboard.suite.name
    left = (
        f" ({leaderboard.grid_points - leaderboard.records} are missing)"
        if leaderboard.records < leaderboard.grid_points
        else ""
    )
    yield f"{leaderboard.records} records of the {_count(leaderboard.grid_points, 'run')} that the suite asks for{left}."
    if leaderboard.strangers:
        yield f"{_count(leaderboard.strangers, 'filed record')} belong to no run that the suite asks for, and were left out."
    yield (
        f"Reproduce: `fedbench suite run leaderboards/suites/{suite}.toml`, and `fedbench leaderboard {suite} --write`."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    """Names between commas; one that holds a comma itself stands in quotation marks."""
    return ", ".join(f"“{name}”" if "," in name else name for name in names)


def _either(numbers: list[int]) -> str:
    return " or ".join(map(str, numbers))


def _range(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _ranges(seeds: Sequence[int]) -> str:
    """Seeds as a person writes them: `0 to 11`, `0 to 2, 7`."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
