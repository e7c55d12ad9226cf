"""The index of all suites."""

from collections.abc import Sequence

from fedbench_core.leaderboard.board import Board, short_names
from fedbench_core.leaderboard.markdown import pipe_table
from fedbench_core.leaderboard.sheets import Sheet
from fedbench_core.suites.suite import Suite

Standings = Sequence[tuple[Suite, Board | None]]
_NONE = "no claim"


def summary(board: Board) -> str:
    """Who beats every other entry, case by case where there are several; or that nothing is claimed."""
    winners = board.winners
    if len({winner for _, winner in winners}) == 1:
        return winners[0][1] or _NONE
    named = zip(short_names(board), winners, strict=True)
    return "; ".join(f"{name}: {winner or _NONE}" for name, (_, winner) in named)


def index_sheet(boards: Standings) -> Sheet:
    """A row for each suite: its question, the entry that beats all others or "no claim", and how many records."""
    rows = [[suite.name, suite.question, *_standing(board)] for suite, board in boards]
    return Sheet(["suite", "question", "best", "records"], rows, frozenset({"suite", "question", "best"}))


def index_page(boards: Standings) -> str:
    """The index as a Markdown page; suites without records are listed without a link."""
    sheet = index_sheet(boards)
    linked = [
        [f"[{name}]({name}.md)" if board else name, *others]
        for (name, *others), (_, board) in zip(sheet.rows, boards, strict=True)
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


def _standing(board: Board | None) -> list[str]:
    return ["not run yet", "0"] if board is None else [summary(board), str(board.records)]
