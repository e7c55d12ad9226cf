"""Pages and pictures: written from the records alone, the same each time, and checked to the digit."""

import re
import shutil

import pytest

from fedbench_core.api import RequestError, RunError
from fedbench_core.leaderboard.shelf import check, read_leaderboard, read_leaderboards, render, write


@pytest.fixture(scope="module")
def written(shelves, tmp_path_factory):
    """Two suites, one of which is not run yet, with their pages and pictures."""
    shelf = shelves(tmp_path_factory.mktemp("written"))
    shelf.fill(shelf.suite())
    shelf.suite("larger", question="And at scale?")
    write(render(shelf.folder))
    return shelf.folder


@pytest.fixture
def folder(written, shelf):
    """A copy of them."""
    return shutil.copytree(written, shelf.folder)


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".md", ".svg")}


def test_written_twice_every_byte_is_the_same(folder) -> None:
    before = files(folder)
    assert {"README.md", "small.md"} < set(before)
    assert {name.rpartition("-")[2] for name in before if name.endswith(".svg")} == {
        "bytes.svg",
        "curves.svg",
        "shares.svg",
    }
    write(render(folder))
    assert files(folder) == before
    check(render(folder))


def test_every_link_leads_to_a_file(folder) -> None:
    links = {
        (page, link)
        for page in folder.glob("*.md")
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    }
    assert len(links) > 3
    assert not [link for page, link in links if not (page.parent / link).exists()]


def test_one_digit_of_a_page_is_found_with_its_line(folder) -> None:
    page = folder / "small.md"
    lines = page.read_text().splitlines(keepends=True)
    at, line = next((at, line) for at, line in enumerate(lines) if line.startswith("|") and "fedavg-ft" in line)
    digit = re.search(r"\d(?=±)", line)
    altered = line[: digit.start()] + str((int(digit[0]) + 1) % 10) + line[digit.end() :]
    page.write_text("".join([*lines[:at], altered, *lines[at + 1 :]]))
    with pytest.raises(
        RunError, match=rf"small\.md differs from the records in line {at + 1}: .*fedavg-ft(.|\n)*--write"
    ):
        check(render(folder))


@pytest.mark.parametrize("what", ["small.md", "README.md", "curves", "bytes", "shares"])
def test_what_is_missing_is_named(what, folder) -> None:
    [path] = [path for path in folder.rglob("*") if path.is_file() and what in path.name and path.suffix != ".json"]
    path.unlink()
    with pytest.raises(RunError, match=f"{path.name} is missing"):
        check(render(folder))


def test_one_digit_of_a_record_is_found_though_its_seal_was_made_anew(folder, shelf) -> None:
    def nudge(record, grid_point) -> None:
        if (grid_point.entry, grid_point.seed) == ("fedavg", 3):
            record["costs"]["bytes_up"] += 1_000_000

    shelf.fill(shelf.suite(), change=nudge)
    with pytest.raises(
        RunError, match=r"small\.md differs from the records in line \d+(.|\n)*bytes\.svg does not show"
    ):
        check(render(folder))


@pytest.mark.parametrize("claimed", [0.1, None])
def test_a_score_that_the_images_do_not_bear_out_is_refused_though_its_seal_was_made_anew(claimed, shelf) -> None:
    """Whether or not anything is claimed of it: a mean that is shown is believed."""

    def flatter(record, grid_point) -> None:
        if (grid_point.entry, grid_point.seed) == ("fedavg", 3):
            metrics = record["test"]["metrics"]
            metrics["personalization"] = claimed and metrics["personalization"] + claimed

    file = shelf.suite()
    shelf.fill(file, lambda grid_point: 10, flatter)  # noqa: ARG005  # all entries alike
    with pytest.raises(
        RunError, match=r"of fedavg, seed 3 says that its personalization is (None|0\.\d+), but .* make it 0\.\d+"
    ):
        read_leaderboard(file)
    assert read_leaderboard(file, "auc")  # whose images are not kept


def test_a_point_of_a_learning_curve_is_in_its_picture(folder, shelf) -> None:
    def nudge(record, grid_point) -> None:
        if (grid_point.entry, grid_point.seed) == ("fedavg", 3):
            record["curve"][0]["personalization"] += 0.001

    shelf.fill(shelf.suite(), change=nudge)
    with pytest.raises(RunError, match=r"curves\.svg does not show what the records say") as error:
        check(render(folder))
    assert "small.md" not in str(error.value)


def test_one_digit_of_a_record_is_found_by_its_seal(folder) -> None:
    record = next((folder / "records" / "small").iterdir())
    text = record.read_text()
    record.write_text(text.replace('"brier":0.', '"brier":1.', 1))
    with pytest.raises(RunError, match=f"{record.name} was altered"):
        render(folder)


def test_one_suite_alone_leaves_other_pages_and_renews_the_index(folder, shelf) -> None:
    shelf.fill(shelf.suite("larger", question="And at scale?"))
    rendered = render(folder, "larger")
    assert sorted(path.name for path in rendered.pages) == ["README.md", "larger.md"]
    assert all("larger" in path.name for path in rendered.pictures)


def test_a_page_of_no_suite_is_found(folder) -> None:
    (folder / "old.md").write_text("# old\n")
    with pytest.raises(RunError, match=r"old\.md belongs to no suite"):
        check(render(folder))


def test_an_unknown_suite_and_an_empty_folder_are_told(folder, tmp_path) -> None:
    with pytest.raises(RequestError, match=r"no suite .*none\.toml\. Suites in that folder: .*small\.toml"):
        render(folder, "none")
    with pytest.raises(RequestError, match="There are no suites in"):
        render(tmp_path)


def test_suites_without_records_have_no_leaderboard(folder) -> None:
    assert {suite.name: leaderboard is not None for suite, leaderboard in read_leaderboards(folder)} == {
        "larger": False,
        "small": True,
    }
