"""What a report is made of: suites and runs by name, read, rendered and written."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from fedbench_core.api import RequestError
from fedbench_core.federation.files import make_folder, replace_file
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.pages import UNRESOLVED, read_leaderboard, suite_files
from fedbench_core.records.record import RECORD, read_record
from fedbench_core.report.leaderboards import suite_section
from fedbench_core.report.page import MARKER, render
from fedbench_core.report.runs import run_section
from fedbench_core.suites.filed_records import records_folder
from fedbench_core.suites.files import suite_file


def write_report(sources: Sequence[str], folder: Path, out: Path) -> list[str]:
    """Write the report of suites and runs to `out`, all suites with records by default; gives what it leaves out.

    RequestError for a source that is neither, or if `out` is a file that no report is in; errors as in `read_record`.
    """
    _check_target(out)
    runs = [Path(source) for source in dict.fromkeys(sources) if _is_run(Path(source))]
    suites = [suite_file(folder, source) for source in dict.fromkeys(sources) if Path(source) not in runs]
    files = suites if sources else _recorded(folder)
    leaderboards = [(file, read_leaderboard(file)) for file in files]
    sections = [suite_section(one, file, at) for at, (file, one) in enumerate(leaderboards)]
    pages = [run_section(path, read_record(path), at) for at, path in enumerate(runs)]
    title = ", ".join([*(section.name for section in sections), *(page.title for page in pages)])
    html = render(title, sections, pages)
    make_folder(out.parent)
    replace_file(out, html.encode())
    return [sentence for _, one in leaderboards for sentence in _left_out(one)]


def _check_target(out: Path) -> None:
    """RequestError if the file was not written by this command."""
    if out.exists() and MARKER not in out.read_bytes()[:200].decode(errors="replace"):
        raise RequestError(f"{out} exists and is no report. Give --out another name, or remove the file.")


def _is_run(path: Path) -> bool:
    """Whether a source names a run. RequestError for a folder without a record: a suite is no folder."""
    if path.is_dir() and not (path / RECORD).exists():
        inside = sorted(str(file.parent) for file in path.glob(f"*/{RECORD}"))
        hint = f"It holds folders of runs; name them: fedbench report {inside[0]}" if inside else "Name a run's folder"
        raise RequestError(f"{path} is a folder without {RECORD}: no finished run is in it. {hint}, or a suite.")
    return path.is_dir() or path.suffix == ".json"


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
