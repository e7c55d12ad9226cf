"""What a report is made of: suites by name, read, rendered and written."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from fedbench_core.api import RequestError
from fedbench_core.federation.files import make_folder, replace_file
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.pages import UNRESOLVED, read_leaderboard, suite_files
from fedbench_core.report.leaderboards import suite_section
from fedbench_core.report.page import MARKER, render
from fedbench_core.suites.filed_records import records_folder
from fedbench_core.suites.suite import suite_file


def write_report(sources: Sequence[str], folder: Path, out: Path) -> list[str]:
    """Write the report of suites to `out`, all suites with records by default; gives what it leaves out.

    RequestError for a source that is no suite, or if `out` is a file that no report is in.
    """
    _check_target(out)
    files = [_suite(source, folder) for source in dict.fromkeys(sources)] or _recorded(folder)
    leaderboards = [(file, read_leaderboard(file)) for file in files]
    sections = [suite_section(one, file, at) for at, (file, one) in enumerate(leaderboards)]
    names = [one.suite.name for _, one in leaderboards]
    html = render(", ".join(names), sections)
    make_folder(out.parent)
    replace_file(out, html.encode())
    return [sentence for _, one in leaderboards for sentence in _left_out(one)]


def _check_target(out: Path) -> None:
    """RequestError if the file was not written by this command."""
    if out.exists() and MARKER not in out.read_bytes()[:200].decode(errors="replace"):
        raise RequestError(f"{out} exists and is no report. Give --out another name, or remove the file.")


def _suite(source: str, folder: Path) -> Path:
    """The file of a suite. RequestError for a folder: a suite is no folder."""
    if Path(source).is_dir():
        raise RequestError(f"{source} is a folder. Give the name of a suite in {folder / 'suites'}, or its TOML file.")
    return suite_file(folder, source)


def _recorded(folder: Path) -> list[Path]:
    files = suite_files(folder)
    found = [file for file in files if any(records_folder(file).glob("*.json"))]
    if not found:
        raise RequestError(f"No suite in {folder} has records. Run one: fedbench suite run {files[0]}")
    return found


def _left_out(leaderboard: Leaderboard) -> Iterator[str]:
    yield from (f"Refused: {error}" for error in leaderboard.refused)
    if leaderboard.unresolved:
        yield f"{', '.join(leaderboard.unresolved)}: {UNRESOLVED}."
