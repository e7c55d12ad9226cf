"""Tables of a suite with tuning: default and tuned settings apart, with what was chosen and what it cost."""

import json

import pytest
from click.testing import CliRunner

from fedbench_core.api import RequestError
from fedbench_core.cli.group import fedbench
from fedbench_core.leaderboard.definitions import leaderboard_footnotes
from fedbench_core.leaderboard.footnotes import table_footnotes
from fedbench_core.leaderboard.markdown import page
from fedbench_core.leaderboard.outcome import outcome
from fedbench_core.leaderboard.pages import read_leaderboard
from fedbench_core.leaderboard.text_tables import text_tables
from fedbench_core.suites.choices import Choice, Choices, Trial, choices_file, write_choices
from fedbench_core.suites.files import read_suite

SCORES = {0: (0.5, 0.4, 0.3, None), 1: (0.5, 0.6, 0.4, None), 2: (0.5, 0.4, 0.6, None)}
"""By the number of the best trial."""
BEST = {"majority": 0, "fedavg": 2}
LRS = (0.01, 0.2, 0.05)


@pytest.fixture
def tuned(suite_folder):
    """A suite whose entries are tuned but for one, and its records."""
    tuning = {"trials": 4, "seeds": [100, 101]}
    file = suite_folder.suite(tuning=tuning, seeds=3, datasets=["spots", "phantom"])
    read = read_suite(file)
    settings = ({}, *({"lr": lr} for lr in LRS))
    trials = {
        best: tuple(Trial(settings=own, score=score) for own, score in zip(settings, scores, strict=True))
        for best, scores in SCORES.items()
    }
    choices = [
        Choice(
            **{name: getattr(point, name) for name in ("entry", "dataset", "partition", "backbones")},
            of=read.tuning_digest(point),
            chosen=BEST.get(point.entry, 1),
            trials=trials[BEST.get(point.entry, 1)],
            edges={} if point.entry == "majority" else {"lr": LRS[BEST.get(point.entry, 1) - 1]},
            fixed=("lr",) if point.entry == "local" else (),
            gflops=2.0,
            bytes_sent=500_000,
        )
        for point in read.default_points([0])
        if (point.entry, point.dataset) != ("centralized", "phantom")
    ]
    write_choices(choices_file(file), Choices(suite="small", choices=tuple(choices)))
    suite_folder.fill(file)
    return read_leaderboard(file)


def test_entries_are_compared_with_others_that_were_treated_alike(tuned) -> None:
    titles = [str(table.case) for table in tuned.tables]
    assert titles == [
        f"{data}, Dirichlet 0.3, tiny, {settings} settings"
        for data in ("spots", "phantom")
        for settings in ("default", "tuned")
    ]
    assert [len(table.rows) for table in tuned.tables] == [6, 6, 6, 5]
    assert [bool(table.why_unranked) for table in tuned.tables] == [False, False, False, True]  # no centralized
    assert (tuned.grid_points, tuned.records) == (3 * (12 + 11) - 3 * 2, 3 * (12 + 11) - 3 * 2)  # majority: the same


def test_first_lines_tell_how_many_settings_were_tried(tuned) -> None:
    told = "the best of 4 trials: the default and 3 drawn."
    assert [told in text for text in outcome(tuned)[-4:]] == [False, True, False, False]  # the last one is not ranked


def test_table_shows_what_was_chosen_and_what_may_be_wrong_with_it(tuned) -> None:
    default, chosen = tuned.tables[:2]
    assert "chosen settings" not in text_tables(default)[2].headings
    cells = {row[0]: row[5:] for row in text_tables(chosen)[2].rows}
    assert cells["majority"] == ["default", "0.500", "0.500"]
    assert cells["fedavg"] == ["lr 0.2", "0.600", "0.500"]
    assert cells["local ‡"] == ["lr 0.01", "0.600", "0.500"]
    notes = "\n".join(table_footnotes(chosen))
    assert "fedavg (lr 0.2)" in notes
    assert "centralized (lr 0.01)" in notes
    assert "majority (lr" not in notes
    assert "fedavg 1" in notes  # failed
    assert "‡" in notes
    assert "‡" not in "\n".join(table_footnotes(default))


def test_page_tells_how_and_at_what_cost_entries_were_tuned(tuned) -> None:
    notes = "\n".join(leaderboard_footnotes(tuned))
    assert all(text in notes for text in ("4 trials", "100 to 101", "personalization on", "22 GFLOPs", "5.5 MB"))
    assert "Not tuned: centralized." in notes
    assert "tuned settings" in page(tuned)


def test_status_shows_an_entry_that_is_tuned_on_one_dataset_only(tuned, suite_folder) -> None:
    found = CliRunner().invoke(fedbench, ["suite", "status", str(suite_folder.folder / "suites" / "small.toml")])
    assert (found.exit_code, tuned.records) == (0, tuned.grid_points), found.output
    [line] = [line for line in found.stdout.splitlines() if line.startswith("centralized, tuned")]
    assert line.split()[2:] == ["3", "done", "-"]


FORGED = {
    "more trials": lambda choice: choice["trials"].append({"settings": {"lr": 0.3}, "score": 0.1, "reason": ""}),
    "no default": lambda choice: choice["trials"][0]["settings"].update(lr=0.02),
    "structure": lambda choice: choice["trials"][2]["settings"].update(rounds=400),
    "not the best": lambda choice: choice["trials"][1].update(score=0.9),
    "a failed one": lambda choice: choice.update(chosen=3),
}


@pytest.mark.parametrize("what", FORGED)
@pytest.mark.usefixtures("tuned")
def test_choice_that_equal_tuning_does_not_give_is_refused(what, suite_folder) -> None:
    file = suite_folder.folder / "suites" / "small.toml"
    values = json.loads(choices_file(file).read_text())
    FORGED[what](next(choice for choice in values["choices"] if choice["entry"] == "fedavg"))
    choices_file(file).write_text(json.dumps(values))
    with pytest.raises(RequestError, match=r"'fedavg' in .*small\.tuned\.json .*suite tune"):
        read_suite(file)
