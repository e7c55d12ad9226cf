"""`fedbench suite tune`: tune all entries of a suite alike."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RunError
from fedbench_core.cli.computing import compute, file_argument, print_grouped, running
from fedbench_core.cli.output import echo, print_json, print_sentence, print_table, words
from fedbench_core.cli.units import bytes_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedbench_core.suites.choices import Choices
    from fedbench_core.suites.grid import GridPoint
    from fedbench_core.suites.status import Unrecorded
    from fedbench_core.suites.tuning import Trials


@click.command("tune")
@file_argument
@running
def command(file: Path, records: Path | None, as_json: bool, **how: Any) -> None:
    """Tune all entries of the suite in FILE alike, and write the settings that were chosen beside FILE.

    Every entry gets the trials that [tuning] in FILE asks for: its default settings, and others drawn from the ranges
    that its parts declare. The best one on validation images is chosen. After an interruption, the same command
    continues. A trial with a run that fails counts as the worst.
    """
    from fedbench_core.suites.choices import TRIALS, choices_file, write_choices  # noqa: PLC0415  # not for --help
    from fedbench_core.suites.filed_records import filed_by_key, records_folder  # noqa: PLC0415  # as above
    from fedbench_core.suites.files import read_suite  # noqa: PLC0415  # as above

    suite, folder = read_suite(file), (records or records_folder(file)) / TRIALS
    planned: list[Trials] = []

    def plan() -> "tuple[str, list[GridPoint]]":
        from fedbench_core.suites.tuning import plan_trials  # noqa: PLC0415  # imports torch

        planned.extend(plan_trials(suite))
        return f"{suite.name}-tuning", [run for trials in planned for runs in trials.runs for run in runs]

    _, outcomes = compute(file, plan, folder, as_json=as_json, **how)
    from fedbench_core.suites.tuning import choose  # noqa: PLC0415  # imports torch

    reasons = {**outcomes.failed, **outcomes.skipped}
    choices = choose(suite, planned, filed_by_key(folder), reasons)
    write_choices(choices_file(file), choices)
    print_json(choices.model_dump(mode="json")) if as_json else _print_choices(choices, outcomes, choices_file(file))
    if failed := _without_choice(planned, choices, outcomes):
        raise RunError(f"All trials failed of: {', '.join(failed)}. The same command repeats them.")


def _without_choice(planned: "Sequence[Trials]", choices: "Choices", outcomes: "Unrecorded") -> list[str]:
    """The entries that have no choice for a dataset, partition and backbones, because runs of their trials failed."""
    chosen = {choice.case for choice in choices.choices}
    failed = [one.point for one in planned if any(run.name in outcomes.failed for runs in one.runs for run in runs)]
    cases = [(point.entry, point.dataset, point.partition, point.backbones) for point in failed]
    return list(dict.fromkeys(case[0] for case in cases if case not in chosen))


def _print_choices(choices: "Choices", outcomes: "Unrecorded", path: Path) -> None:
    """Print what was chosen, what it cost, and what failed."""
    from fedbench_core.records.scores import score_text  # noqa: PLC0415  # imports numpy: --help need not wait

    several = len({choice.backbones for choice in choices.choices}) > 1
    rows = [
        (
            choice.entry,
            choice.dataset,
            choice.partition,
            *([choice.backbones] if several else []),
            choice.chosen,
            words(choice.best.settings) or "default",
            *map(score_text, (choice.best.score, choice.trials[0].score)),
            f"{choice.gflops:.4g}",
            bytes_text(choice.bytes_sent),
        )
        for choice in choices.choices
    ]
    case = ("entry", "dataset", "partition", *(["backbones"] if several else []))
    columns = (*case, "trial", "settings", "validation", "default", "GFLOPs", "sent")
    print_table(columns, rows, right=("sent",))
    echo()
    print_grouped("skipped", outcomes.skipped)
    print_grouped("failed, and counted as worst", outcomes.failed)
    gflops, sent = (sum(getattr(one, cost) for one in choices.choices) for cost in ("gflops", "bytes_sent"))
    print_sentence(f"All trials took {gflops:.4g} GFLOPs and sent {bytes_text(sent)}. The choices are in {path}.")
