"""The index of all suites."""

from collections.abc import Sequence

from fedbench_core.leaderboard.leaderboard import Leaderboard, short_names
from fedbench_core.leaderboard.markdown import pipe_table
from fedbench_core.leaderboard.sheets import Sheet
from fedbench_core.suites.suite import Suite

Standings = Sequence[tuple[Suite, Leaderboard | None]]
_NONE = "no claim"


def summary(leaderboard: Leaderboard) -> str:
    """Who beats every other entry, case by case where there are several; or that nothing is claimed."""
    winners = leaderboard.winners
    if len({winner for _, winner in winners}) == 1:
        return winners[0][1] or _NONE
    named = zip(short_names(leaderboard), winners, strict=True)
    return "; ".join(f"{name}: {winner or _NONE}" for name, (_, winner) in named)


def index_sheet(leaderboards: Standings) -> Sheet:
    """A row for each suite: its question, the entry that beats all others or "no claim", and how many records."""
    rows = [[suite.name, suite.question, *_standing(leaderboard)] for suite, leaderboard in leaderboards]
    return Sheet(["suite", "question", "best", "records"], rows, frozenset({"suite", "question", "best"}))


def index_page(leaderboards: Standings) -> str:
    """The index as a Markdown page; suites without records are listed without a link."""
    sheet = index_sheet(leaderboards)
    linked = [
        [f"[{name}]({name}.md)" if leaderboard else name, *others]
        for (name, *others), (_, leaderboard) in zip(sheet.rows, leaderboards, strict=True)
    ]
    return "\n\n".join(
        [
            "<!-- Rendered by `fedbench leaderboard --write`; change the records or the suites instead. -->",
            "# Leaderboards",
            pipe_table(Sheet(sheet.headings, linked, sheet.left)),
            _TEXT,
        ]
    )


_TEXT = """\
Best: the entry that is claimed to be better than every other, the row of centralized images aside (paired tests over seeds,
with Holm's correction over all pairs, held against another draw of the test images).

A suite is a TOML file in [suites](suites). Run it with `fedbench suite run leaderboards/suites/NAME.toml`, file a run
of your own with `fedbench submit RUN --suite leaderboards/suites/NAME.toml`, and render what is recorded with
`fedbench leaderboard --write`.
"""


def _standing(leaderboard: Leaderboard | None) -> list[str]:
    return ["not run yet", "0"] if leaderboard is None else [summary(leaderboard), str(leaderboard.records)]
