"""The folder `leaderboards/`: suites and records are read from it, pages and pictures are written to it."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from fedbench_core.api import RequestError, RunError
from fedbench_core.federation.files import replace_file
from fedbench_core.leaderboard.budget import Budget
from fedbench_core.leaderboard.index import index_page
from fedbench_core.leaderboard.leaderboard import Leaderboard, build
from fedbench_core.leaderboard.markdown import page
from fedbench_core.suites.filing import read_filed, records_of
from fedbench_core.suites.suite import Suite, read_suite

if TYPE_CHECKING:
    from fedbench_core.leaderboard.illustrations import Picture

INDEX = "README.md"


@dataclass(frozen=True)
class Rendered:
    """What the records make of a folder: the text of each page, the pictures by their paths, and what is left over."""

    pages: dict[Path, str]
    pictures: "dict[Path, Picture]"
    orphans: list[Path]


def suite_file(folder: Path, name: str) -> Path:
    """The TOML file of a suite, by its name or its path."""
    return Path(name) if name.endswith(".toml") else folder / "suites" / f"{name}.toml"


def suite_files(folder: Path) -> list[Path]:
    """All suites of a folder; RequestError if there is none."""
    found = sorted((folder / "suites").glob("*.toml"))
    if not found:
        raise RequestError(f"There are no suites in {folder / 'suites'}. Give the folder that holds them: --folder")
    return found


def read_leaderboard(file: Path, sort: str | None = None, budgets: Sequence[Budget] = ()) -> Leaderboard:
    """The leaderboard of one suite; errors as of `read_suite`, `read_filed` and `build`."""
    with _no_garbage():
        return build(read_suite(file), read_filed(records_of(file)), sort, budgets)


def read_leaderboards(folder: Path) -> Iterator[tuple[Suite, Leaderboard | None]]:
    """Every suite with its leaderboard, or None if nothing is recorded of it."""
    for file in suite_files(folder):
        with _no_garbage():
            suite, filed = read_suite(file), read_filed(records_of(file))
            leaderboard = build(suite, filed) if filed else None
        yield suite, leaderboard


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Records are millions of values and none of them is garbage: looking for it takes as long as reading them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def render(folder: Path, only: str | None = None) -> Rendered:
    """The pages and pictures of all suites, or of `only` one, and the index of all."""
    from fedbench_core.leaderboard.illustrations import FOLDER, of_leaderboard  # noqa: PLC0415  # matplotlib

    wanted = suite_file(folder, only).stem if only else None
    if only:
        read_suite(suite_file(folder, only))  # says which there are
    leaderboards = list(read_leaderboards(folder))
    pages: dict[Path, str] = {}
    pictures: dict[Path, Picture] = {}
    for suite, leaderboard in leaderboards:
        if leaderboard is not None and wanted in (None, suite.name):
            of_tables, of_all = of_leaderboard(leaderboard)
            links = [[picture.link for picture in own] for own in of_tables]
            pages[folder / f"{suite.name}.md"] = page(leaderboard, links, [picture.link for picture in of_all])
            drawn = [picture for own in (*of_tables, of_all) for picture in own]
            pictures |= {folder / FOLDER / f"{picture.name}.svg": picture for picture in drawn}
    pages[folder / INDEX] = index_page(leaderboards)
    return Rendered(pages, pictures, [] if only else _orphans(folder, {*pages, *pictures}))


def _orphans(folder: Path, made: set[Path]) -> list[Path]:
    """Pages and pictures that no suite has any more."""
    from fedbench_core.leaderboard.illustrations import FOLDER  # noqa: PLC0415  # matplotlib

    return sorted({*folder.glob("*.md"), *(folder / FOLDER).glob("*.svg")} - made)


def write(rendered: Rendered) -> list[Path]:
    """Write all pages and pictures, each whole; gives their paths."""
    from fedbench_core.plots.style import save  # noqa: PLC0415  # matplotlib

    for path, text in rendered.pages.items():
        replace_file(path, text.encode())
    for path, picture in rendered.pictures.items():
        path.parent.mkdir(exist_ok=True)
        save(path, picture.draw, picture.told)
    return [*rendered.pages, *rendered.pictures]


def check(rendered: Rendered) -> None:
    """RunError that names what is not as the records say, a page with its first line that differs."""
    wrong = [fault for path, text in rendered.pages.items() if (fault := _page_fault(path, text))]
    wrong += [fault for path, picture in rendered.pictures.items() if (fault := _picture_fault(path, picture))]
    wrong += [f"{path} belongs to no suite that has records. Remove it." for path in rendered.orphans]
    if wrong:
        raise RunError("\n".join([*wrong, "Write what the records say: fedbench leaderboard --write"]))


def _page_fault(path: Path, text: str) -> str:
    if not path.exists():
        return f"{path} is missing."
    there, due = path.read_text(encoding="utf-8").splitlines(keepends=True), text.splitlines(keepends=True)
    for number, (old, new) in enumerate(zip_longest(there, due), start=1):
        if old != new:
            return f"{path} differs from the records in line {number}: {_shown(old)}, expected {_shown(new)}."
    return ""


def _shown(line: str | None) -> str:
    return "nothing" if line is None else repr(line.rstrip())


def _picture_fault(path: Path, picture: "Picture") -> str:
    if not path.exists():
        return f"{path} is missing."
    return "" if picture.told in path.read_text(encoding="utf-8") else f"{path} does not show what the records say."
