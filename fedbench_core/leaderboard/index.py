"""The index page of all suites."""

from collections.abc import Sequence

from fedbench_core.escapes import markdown, url
from fedbench_core.leaderboard.leaderboard import Leaderboard, UnusableError, case_labels
from fedbench_core.leaderboard.markdown import GENERATED, pipes
from fedbench_core.leaderboard.text_tables import TextTable
from fedbench_core.suites.suite import Suite

Leaderboards = Sequence[tuple[Suite, Leaderboard | UnusableError | None]]
"""Suites with their leaderboards; None without records, UnusableError if none can be ranked."""
_NONE = "no significant winner"
_NOT_RANKED = "not ranked: baselines are missing"


def winner_text(leaderboard: Leaderboard) -> str:
    """The entry that is significantly better than all others, for each table if the tables differ."""
    texts = [_NOT_RANKED if table.why_unranked else winner or _NONE for table, winner in leaderboard.winners]
    if len(set(texts)) == 1:
        return texts[0]
    return "; ".join(f"{label}: {text}" for label, text in zip(case_labels(leaderboard), texts, strict=True))


def index_table(leaderboards: Leaderboards) -> TextTable:
    """A row for each suite: its question, its significant winner, and the number of records."""
    rows = [[suite.name, suite.question, *_state(leaderboard)] for suite, leaderboard in leaderboards]
    return TextTable(["suite", "question", "best", "records"], rows, frozenset({"suite", "question", "best"}))


def index_page(leaderboards: Leaderboards) -> str:
    """The index as a Markdown page; suites without records are listed without a link, and smoke tests below."""
    shown = [(suite, leaderboard) for suite, leaderboard in leaderboards if not suite.smoke_test]
    smoke = [_link(suite.name, leaderboard) for suite, leaderboard in leaderboards if suite.smoke_test]
    table = index_table(shown)
    linked = [
        [_link(name, leaderboard), *map(markdown, others)]
        for (name, *others), (_, leaderboard) in zip(table.rows, shown, strict=True)
    ]
    return "\n\n".join(
        [
            f"{GENERATED}; edit the suites or the records instead. -->",
            "# Leaderboards",
            *([pipes(TextTable(table.headings, linked, table.left))] if linked else []),
            *([f"{_SMOKE} {', '.join(smoke)}."] if smoke else []),
            _TEXT,
        ]
    )


_SMOKE = "Smoke tests, which show that methods run and nothing about which of them is better:"


def _link(name: str, leaderboard: Leaderboard | UnusableError | None) -> str:
    return f"[{markdown(name)}]({url(f'{name}.md')})" if isinstance(leaderboard, Leaderboard) else markdown(name)


_TEXT = """\
Best: the entry that is significantly better than all others, not counting centralized training (paired t-tests over
seeds and test images, with Holm's correction over all pairs of a table).

A suite is a TOML file in [suites](suites). Run it with `fedbench suite run leaderboards/suites/NAME.toml`, submit a run
of your own with `fedbench submit RUN --suite leaderboards/suites/NAME.toml`, and generate the pages with
`fedbench leaderboard --write`.
"""


def _state(leaderboard: Leaderboard | UnusableError | None) -> list[str]:
    if isinstance(leaderboard, UnusableError):
        return ["no record can be ranked", "0"]
    return ["not run yet", "0"] if leaderboard is None else [winner_text(leaderboard), str(leaderboard.records)]
