"""Pages and figures are reproducible functions of the records, and `check` finds every deviation."""

import re
import shutil

import pytest
from click.testing import CliRunner

from fedbench_core.api import RequestError, RunError
from fedbench_core.cli.leaderboard import command
from fedbench_core.leaderboard.pages import check, read_leaderboards, render, write


@pytest.fixture(scope="module")
def written(suite_folders, tmp_path_factory):
    """Two suites, one of them without records, with their pages and figures."""
    suite_folder = suite_folders(tmp_path_factory.mktemp("written") / "leaderboards")
    suite_folder.fill(suite_folder.suite())
    suite_folder.suite("larger", question="And at scale?")
    write(render(suite_folder.folder))
    return suite_folder.folder


@pytest.fixture
def folder(written, suite_folder):
    """A copy of them."""
    return shutil.copytree(written, suite_folder.folder)


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".md", ".svg")}


def test_files_that_are_written_twice_have_the_same_bytes(folder) -> None:
    before = files(folder)
    assert {"README.md", "small.md"} < set(before)
    assert {name.rpartition("-")[2] for name in before if name.endswith(".svg")} == {
        "bytes.svg",
        "curves.svg",
        "partition.svg",
    }
    write(render(folder))
    assert files(folder) == before
    check(render(folder))


def test_links_lead_to_files(folder) -> None:
    links = {
        (page, link)
        for page in folder.glob("*.md")
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    }
    assert len(links) > 3
    assert not [link for page, link in links if not (page.parent / link).exists()]


def test_digit_that_was_changed_in_a_page_is_found_with_its_line(folder) -> None:
    page = folder / "small.md"
    lines = page.read_text().splitlines(keepends=True)
    at, line = next((at, line) for at, line in enumerate(lines) if line.startswith("|") and "fedavg-ft" in line)
    digit = re.search(r"\d(?=±)", line)
    altered = line[: digit.start()] + str((int(digit[0]) + 1) % 10) + line[digit.end() :]
    page.write_text("".join([*lines[:at], altered, *lines[at + 1 :]]))
    with pytest.raises(RunError, match=rf"small\.md .*line {at + 1}: .*fedavg-ft(.|\n)*--write"):
        check(render(folder))


def test_file_of_other_bytes_differs(folder) -> None:
    for path in (folder / "small.md", next(folder.rglob("*-bytes.svg"))):
        path.write_bytes(b"\xff")
    with pytest.raises(RunError, match=r"small\.md differs.*(.|\n)*-bytes\.svg differs"):
        check(render(folder))


@pytest.mark.parametrize("what", ["small.md", "README.md", "curves", "bytes", "partition"])
def test_file_that_is_missing_is_named(what, folder) -> None:
    [path] = [path for path in folder.rglob("*") if path.is_file() and what in path.name and path.suffix != ".json"]
    path.unlink()
    with pytest.raises(RunError, match=f"{path.name} is missing"):
        check(render(folder))


def test_cost_that_was_changed_in_a_record_with_a_new_digest_changes_page_and_figure(folder, suite_folder) -> None:
    def nudge(record, grid_point) -> None:
        if (grid_point.entry, grid_point.seed) == ("fedavg", 3):
            record["costs"]["bytes_up"] += 1_000_000

    suite_folder.fill(suite_folder.suite(), change=nudge)
    with pytest.raises(RunError, match=r"small\.md .*line \d+(.|\n)*bytes\.svg"):
        check(render(folder))


def test_score_that_was_changed_in_a_learning_curve_changes_its_figure(folder, suite_folder) -> None:
    def nudge(record, grid_point) -> None:
        if (grid_point.entry, grid_point.seed) == ("fedavg", 3):
            record["curve"][0]["personalization"] += 0.001  # not the best round

    suite_folder.fill(suite_folder.suite(), change=nudge)
    with pytest.raises(RunError, match=r"curves\.svg") as error:
        check(render(folder))
    assert "small.md" not in str(error.value)


def test_pages_are_written_without_a_bad_record_and_do_not_pass_the_check(folder) -> None:
    record = next((folder / "records" / "small").iterdir())
    text = record.read_text()
    record.write_text(text.replace('"brier":0.', '"brier":1.', 1))
    write(render(folder))
    assert record.name in (folder / "small.md").read_text()
    with pytest.raises(RunError, match=rf"{record.name} was altered") as error:
        check(render(folder))
    assert "differs" not in str(error.value)


def test_single_suite_is_rendered_with_the_index_only(folder, suite_folder) -> None:
    suite_folder.fill(suite_folder.suite("larger", question="And at scale?"))
    rendered = render(folder, "larger")
    assert sorted(path.name for path in rendered.pages) == ["README.md", "larger.md"]
    assert all("larger" in path.name for path in rendered.figures)


def test_page_without_a_suite_is_found(folder) -> None:
    shutil.copy(folder / "small.md", folder / "old.md")
    with pytest.raises(RunError, match=r"old\.md"):
        check(render(folder))


def test_suite_that_is_unknown_is_refused_with_the_known_ones(folder) -> None:
    with pytest.raises(RequestError, match=r"none\.toml.*small\.toml"):
        render(folder, "none")


def test_folder_without_suites_is_refused(tmp_path) -> None:
    with pytest.raises(RequestError, match="--folder"):
        render(tmp_path)


def test_suite_without_records_has_no_leaderboard(folder) -> None:
    assert {suite.name: leaderboard is not None for suite, leaderboard in read_leaderboards(folder)} == {
        "larger": False,
        "small": True,
    }


@pytest.mark.parametrize("name", ["README.md", "small.md", "plot"])
def test_file_that_write_did_not_write_is_refused_and_kept(folder, name: str) -> None:
    path = next((folder / "pictures").glob("*.svg")) if name == "plot" else folder / name
    path.write_text("# My notes\n")
    (folder / "suites" / "larger.toml").unlink()  # the index would change
    before = files(folder)
    with pytest.raises(RequestError, match=str(path)):
        write(render(folder))
    assert files(folder) == before


def test_page_that_is_nobody_elses_is_no_orphan(folder) -> None:
    (folder / "NOTES.md").write_text("# My notes\n")
    check(render(folder))


def test_suite_of_which_no_record_can_be_ranked_does_not_stop_the_others(folder) -> None:
    records = folder / "records" / "larger"
    records.mkdir()
    (records / "one.json").write_text("{}")
    rendered = render(folder)
    assert {path.name for path in rendered.pages} == {"README.md", "small.md"}
    write(rendered)
    assert "no record can be ranked" in (folder / "README.md").read_text()
    with pytest.raises(RunError, match=r"larger[^$]*one\.json"):
        check(rendered)
    with pytest.raises(RequestError, match="larger"):
        render(folder, "larger")
    status = CliRunner().invoke(command, ["--write", "--folder", str(folder)])
    assert isinstance(status.exception, RunError)
    assert "small.md" in status.output
