"""The pages and figures in the folder `leaderboards/`: rendered from suites and records, written, and checked."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from fedbench_core.api import RequestError, RunError
from fedbench_core.federation.files import make_folder, replace_file
from fedbench_core.garbage import uncollected
from fedbench_core.leaderboard.budget import Budget
from fedbench_core.leaderboard.documents import document, documents
from fedbench_core.leaderboard.index import Leaderboards, index_page
from fedbench_core.leaderboard.leaderboard import Leaderboard, UnusableError, build_leaderboard
from fedbench_core.leaderboard.markdown import GENERATED, page
from fedbench_core.records.record import RecordError
from fedbench_core.suites.filed_records import Filed, read_folder, records_folder
from fedbench_core.suites.files import read_suite, suite_file
from fedbench_core.suites.suite import Suite

if TYPE_CHECKING:
    from fedbench_core.leaderboard.figures import PageFigure

INDEX = "README.md"
_DESCRIBED = re.compile(r"<dc:description>[0-9a-f]{64}</dc:description>")
UNRESOLVED = "a part is not installed, so records are compared with the settings in the suite file only"


@dataclass(frozen=True)
class Rendered:
    """Pages and figures by path, and documents that hold tables with their text.

    orphans: files that belong to no suite with records; refused: records that the pages leave out; unusable: suites
    without a record that can be ranked, which have no page; unresolved: suites with a part that is not installed, and
    the entries whose settings could not be checked completely.
    """

    pages: dict[Path, str]
    documents: dict[Path, str]
    figures: "dict[Path, PageFigure]"
    orphans: list[Path]
    refused: list[RecordError]
    unusable: list[UnusableError]
    unresolved: list[str]


def suite_files(folder: Path) -> list[Path]:
    """The files of all suites in a folder; RequestError if there are none."""
    found = sorted((folder / "suites").glob("*.toml"))
    if not found:
        raise RequestError(
            f"There are no suites in {folder / 'suites'}. Give the folder that contains suites/: --folder"
        )
    return found


def read_leaderboard(file: Path, sort: str | None = None, budgets: Sequence[Budget] = ()) -> Leaderboard:
    """The leaderboard of one suite; errors as in `read_suite` and `build_leaderboard`."""
    with uncollected():
        return build_leaderboard(read_suite(file), read_folder(records_folder(file)), sort, budgets)


def read_leaderboards(folder: Path) -> Iterator[tuple[Suite, Leaderboard | UnusableError | None]]:
    """Each suite of a folder with its leaderboard, None without records, or UnusableError if none can be ranked."""
    for file in suite_files(folder):
        with uncollected():
            suite, filed = read_suite(file), read_folder(records_folder(file))
            leaderboard = _built(suite, filed) if filed.by_key or filed.refused else None
        yield suite, leaderboard


def _built(suite: Suite, filed: Filed) -> Leaderboard | UnusableError:
    try:
        return build_leaderboard(suite, filed)
    except UnusableError as error:  # the other suites are ranked
        return error


def render(folder: Path, only: str | None = None) -> Rendered:
    """The pages and figures of all suites, or of `only` one, and the index of all."""
    from fedbench_core.leaderboard.figures import FOLDER, leaderboard_figures  # noqa: PLC0415  # matplotlib

    wanted = suite_file(folder, only).stem if only else None
    if only:
        read_suite(suite_file(folder, only))  # an unknown suite is an error that lists the others
    leaderboards = list(read_leaderboards(folder))
    pages: dict[Path, str] = {}
    figures: dict[Path, PageFigure] = {}
    for suite, leaderboard in leaderboards:
        if wanted == suite.name and isinstance(leaderboard, UnusableError):
            raise leaderboard
        if isinstance(leaderboard, Leaderboard) and wanted in (None, suite.name):
            of_tables, over_datasets = leaderboard_figures(leaderboard)
            links = [[figure.link for figure in group] for group in of_tables]
            pages[folder / f"{suite.name}.md"] = page(leaderboard, links, [figure.link for figure in over_datasets])
            found = [figure for group in (*of_tables, over_datasets) for figure in group]
            figures |= {folder / FOLDER / f"{figure.name}.svg": figure for figure in found}
    pages[folder / INDEX] = index_page(leaderboards)
    ranked = [leaderboard for _, leaderboard in leaderboards if isinstance(leaderboard, Leaderboard)]
    unusable = [leaderboard for _, leaderboard in leaderboards if isinstance(leaderboard, UnusableError)]
    return Rendered(
        pages,
        _documents(folder, leaderboards, wanted),
        figures,
        orphans=[] if only else _orphans(folder, {*pages, *figures}),
        refused=[error for leaderboard in ranked for error in leaderboard.refused],
        unusable=unusable,
        unresolved=[f"{one.suite.name}: {', '.join(one.unresolved)}" for one in ranked if one.unresolved],
    )


def _documents(folder: Path, leaderboards: Leaderboards, wanted: str | None) -> dict[Path, str]:
    """The documents that hold tables, with the tables of all suites or of the one that is wanted."""
    by_name = {suite.name: one if isinstance(one, Leaderboard) else None for suite, one in leaderboards}
    shown = {name: one for name, one in by_name.items() if wanted in (None, name)}
    return {path: document(path, folder, shown, by_name.keys() - shown) for path in documents(folder)}


def _orphans(folder: Path, rendered: set[Path]) -> list[Path]:
    """Pages and figures that belong to no suite with records."""
    from fedbench_core.leaderboard.figures import FOLDER  # noqa: PLC0415  # matplotlib

    found = {*folder.glob("*.md"), *(folder / FOLDER).glob("*.svg")} - rendered
    return sorted(path for path in found if _is_generated(path))


def write(rendered: Rendered) -> list[Path]:
    """Write all pages and figures atomically; gives their paths. RequestError for files that it did not write."""
    from fedbench_core.plots.style import save  # noqa: PLC0415  # matplotlib

    for path in (*rendered.pages, *rendered.figures):
        _check_generated(path)
    for path, text in rendered.pages.items():
        replace_file(path, text.encode())
    for path, text in rendered.documents.items():
        if path.read_text(encoding="utf-8") != text:
            replace_file(path.resolve(), text.encode())  # a link stays one
    for path, figure in rendered.figures.items():
        make_folder(path.parent)
        save(path, figure.draw, figure.digest)
    return [*rendered.pages, *rendered.documents, *rendered.figures]


def _check_generated(path: Path) -> None:
    """RequestError for a file that is there and is no generated page or figure."""
    if path.is_symlink():
        raise RequestError(f"{path} is a link to {path.readlink()}. Remove the link, or use another --folder.")
    if path.exists() and not _is_generated(path):
        raise RequestError(f"{path} was not written by fedbench leaderboard --write. Move it, or use another --folder.")


def _is_generated(path: Path) -> bool:
    """Whether a page or figure begins or is described as those that `write` makes."""
    with suppress(OSError, ValueError):
        text = path.read_text(encoding="utf-8")
        return text.startswith(GENERATED) if path.suffix == ".md" else _DESCRIBED.search(text) is not None
    return False


def check(rendered: Rendered) -> None:
    """RunError if a file differs from what the records give, or if a record is refused or could not be checked.

    It names the files, and the first line of a page that differs.
    """
    texts = {**rendered.pages, **rendered.documents}
    wrong = [fault for path, text in texts.items() if (fault := _page_fault(path, text))]
    wrong += [fault for path, figure in rendered.figures.items() if (fault := _figure_fault(path, figure))]
    wrong += [f"{path} belongs to no suite with records. Remove it." for path in rendered.orphans]
    if wrong:
        wrong.append("Generate the files again: fedbench leaderboard --write")
    wrong += [f"Refused: {error}" for error in rendered.refused]
    wrong += map(str, rendered.unusable)
    wrong += [f"{entries}: {UNRESOLVED}" for entries in rendered.unresolved]
    if wrong:
        raise RunError("\n".join(wrong))


def _page_fault(path: Path, text: str) -> str:
    if not path.exists():
        return f"{path} is missing."
    found, expected = _text(path).splitlines(keepends=True), text.splitlines(keepends=True)
    for number, (old, new) in enumerate(zip_longest(found, expected), start=1):
        if old != new:
            return f"{path} differs from the records in line {number}: {_line_text(old)}, expected {_line_text(new)}."
    return ""


def _text(path: Path) -> str:
    """The text of a file, whatever it holds."""
    return path.read_text(encoding="utf-8", errors="replace")


def _line_text(line: str | None) -> str:
    return "nothing" if line is None else repr(line.rstrip())


def _figure_fault(path: Path, figure: "PageFigure") -> str:
    if not path.exists():
        return f"{path} is missing."
    return "" if figure.digest in _text(path) else f"{path} differs from the records."
