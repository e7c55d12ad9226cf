"""Footnotes of a page: what its columns, ranks and baselines are, how entries were tuned, how to compute all again."""

from collections.abc import Iterator

from fedbench_core.leaderboard.baselines import ALWAYS, MEANINGS
from fedbench_core.leaderboard.columns import MEGA, metric
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.misfits import all_records
from fedbench_core.leaderboard.phrases import Lead, count, listed, ranges
from fedbench_core.statistics import PLANNED
from fedbench_core.statistics.friedman import DatasetRanks

_MOST_REFUSED = 10


def leaderboard_footnotes(leaderboard: Leaderboard) -> list[str]:
    """The footnotes for all tables of a leaderboard."""
    return [*_columns(leaderboard), *_definitions(leaderboard), *_reproduction(leaderboard)]


def dataset_footnotes(over_datasets: DatasetRanks) -> list[str]:
    """The footnotes of the mean ranks over datasets."""
    notes: list[str] = [
        f"Mean ranks over {count(over_datasets.datasets, 'dataset')}, of means over seeds and partitions."
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
        f"correction over all pairs of a table (family-wise error 5 %){_planned(leaderboard)}."
    )
    yield (
        "MB (10⁶ bytes): measured size of the messages per client and round, uploaded to the server, downloaded from "
        "it, and sent between peers. Equal initial weights need no download before the first round; the one after the "
        "last round counts where the scored model is made from it. GFLOPs: training of all "
        "clients and of the server, and fine-tuning before the last prediction. Seconds: wall time of a run; machines "
        "may differ."
    )
    if any(row.other_models for table in leaderboard.tables for row in table.rows):
        yield (
            "Models: where the clients of an entry have several, such as a personal and a shared one, that with which "
            "its method predicts is ranked, and a table has the scores of all of them."
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
    seeds = ranges(sorted(suite.tuning.seeds))
    tuned_by = suite.ranked_by(record for table in leaderboard.tables for record in all_records(table.runs))
    yield (
        f"Tuned settings: every entry had {count(suite.tuning.trials, 'trial')}, the first with its default settings, "
        f"with seeds {seeds}, which are none of the tables. The trial with the best {metric(tuned_by).heading} on "
        "validation images after the last round, mean over these seeds, was chosen. All trials together took "
        f"{gflops:.3g} GFLOPs and sent {megabytes:.3g} MB. Differences are between the chosen settings: that another "
        "tuning may choose others is not part of the tests."
    )
    points = suite.default_points(suite.seeds[:1])
    if missing := list(dict.fromkeys(point.entry for point in points if suite.choice(point) is None)):
        yield Lead("Not tuned", f": {listed(missing)}.")


def _planned(leaderboard: Leaderboard) -> str:
    planned = any(pair.planned for table in leaderboard.tables for pair in table.pairs)
    return f", of which the planned comparisons share {PLANNED * 100:g} % and the others the rest" if planned else ""


def _reproduction(leaderboard: Leaderboard) -> Iterator[str]:
    suite = leaderboard.suite
    missing = leaderboard.grid_points - leaderboard.records
    recorded = f"{leaderboard.records} of {count(leaderboard.grid_points, 'run')} recorded"
    yield f"{recorded} ({missing} missing)." if missing else f"{recorded}."
    if leaderboard.refused:
        files = "; ".join(f"{error.path.name} {error.reason}" for error in leaderboard.refused[:_MOST_REFUSED])
        more = len(leaderboard.refused) - _MOST_REFUSED
        further = f"; and {more} more, which fedbench leaderboard --check lists" if more > 0 else ""
        yield Lead(f"Refused and left out: {count(len(leaderboard.refused), 'record')}", f" ({files}{further}).")
    if leaderboard.of_last_round:
        commands = (f"fedbench suite run {suite.file} --fresh",) if suite.file else ()
        yield Lead(
            "Scores of the last round only",
            f", although they depend on the round: records of {listed(leaderboard.of_last_round)} were made before "
            "such scores were means over a period. Make them anew:",
            commands,
        )
    if leaderboard.unmatched:
        yield f"Ignored because they belong to no run of the suite: {count(leaderboard.unmatched, 'record')}."
    yield _verified(leaderboard)
    if suite.file:
        yield Lead("", "Reproduce:", (f"fedbench suite run {suite.file}", f"fedbench leaderboard {suite.name} --write"))


def _verified(leaderboard: Leaderboard) -> str:
    """How many records were repeated with equal results, and which by whom."""
    of = f"of {count(leaderboard.records, 'record')}"
    if not leaderboard.verified:
        return f"Verified by a second run: none {of}."
    seeds: dict[tuple[str, str], set[int]] = {}
    for table in leaderboard.tables:
        for name, own in table.runs.items():
            for seed, record in own.items():
                if names := leaderboard.verified.get(record["grid_point"]["key"]):
                    seeds.setdefault((f"{table.case}: {name}", ", ".join(names)), set()).add(seed)
    which = "; ".join(f"{run}, seed {ranges(sorted(own))} (by {names})" for (run, names), own in seeds.items())
    return f"Verified by a second run: {len(leaderboard.verified)} {of}. {which}."
