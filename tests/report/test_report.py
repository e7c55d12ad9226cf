"""`fedbench report`: what it writes and what it refuses."""

import re
import shutil
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from fedbench_core.cli import fedbench
from fedbench_core.leaderboard.pages import read_leaderboard
from fedbench_core.leaderboard.text_tables import model_table, text_tables
from fedbench_core.records.correctness import read_correctness
from fedbench_core.records.predictions import class_scores, confusion, count_text
from fedbench_core.records.record import FORMAT, read_record, sealed, write_record
from fedbench_core.report import page


class Reader(HTMLParser):
    """The cells of the tables, and the addresses that the page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells, self.inside, self.addresses = [], False, []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.inside = self.inside or tag == "td"
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag) -> None:
        self.inside = self.inside and tag != "td"

    def handle_data(self, data) -> None:
        if self.inside:
            self.cells[-1] += data


def go(*arguments):
    return CliRunner().invoke(fedbench, ["report", *map(str, arguments)])


def test_report_has_every_cell_of_the_page(suites, report) -> None:
    cells = Reader(report.read_text()).cells
    [table] = read_leaderboard(suites / "suites/small.toml").tables
    for sheet in (*text_tables(table), model_table(table)):
        assert {cell for row in sheet.rows for cell in row} <= set(cells)


def test_report_needs_no_other_file(report) -> None:
    text = report.read_text()
    assert all(address.startswith("#") for address in Reader(text).addresses)
    assert not re.search(r"@import|url\(", text[: text.index("</style>")])


def test_report_of_many_tables_leaves_charts_to_the_browser(suites, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(page, "_MOST_DRAWN", 1)
    assert go("--folder", suites, "--out", tmp_path / "report.html").exit_code == 0
    text = (tmp_path / "report.html").read_text()
    assert (text.count('<figure id="'), text.count("<noscript>")) == (3, 2)


def test_report_of_equal_records_has_equal_bytes(suites, report, tmp_path) -> None:
    assert go("--folder", suites, "--out", tmp_path / "again.html").exit_code == 0
    assert (tmp_path / "again.html").read_bytes() == report.read_bytes()
    assert go("small", "--folder", suites, "--out", tmp_path / "again.html").exit_code == 0  # a report is replaced
    assert (tmp_path / "again.html").read_bytes() == report.read_bytes()


def test_report_over_datasets_has_their_mean_ranks_and_critical_differences(suite_folder, tmp_path) -> None:
    file = suite_folder.suite(datasets=[f"d{number}" for number in range(6)], seeds=2)
    suite_folder.fill(file)
    assert go(file, "--out", tmp_path / "report.html").exit_code == 0
    text = (tmp_path / "report.html").read_text()
    assert text.count("data:image/svg+xml;base64,") == 1
    [ranks] = re.findall(r"<h3>Over datasets</h3>(.*?)</table>", text, re.DOTALL)
    assert Reader(ranks).cells[::2] == [entry for entry, _ in mean_ranks(file)]


def mean_ranks(file) -> list[tuple[str, float]]:
    return sorted(read_leaderboard(file).over_datasets.ranks.items(), key=lambda item: item[1])


def test_file_that_is_no_report_is_kept(suites, tmp_path) -> None:
    (tmp_path / "mine.html").write_text("mine")
    result = go("--folder", suites, "--out", tmp_path / "mine.html")
    assert (result.exit_code, (tmp_path / "mine.html").read_text()) == (2, "mine")
    assert "--out" in result.stderr


@pytest.mark.parametrize("source", ["nowhere", "nowhere.toml", "."])
def test_source_that_is_nothing_is_refused(suites, tmp_path, source) -> None:
    result = go(source, "--folder", suites, "--out", tmp_path / "report.html")
    assert result.exit_code == 2
    assert source in result.stderr
    assert not (tmp_path / "report.html").exists()


def test_report_of_no_records_names_the_command_that_makes_some(suite_folder, tmp_path) -> None:
    file = suite_folder.suite()
    result = go("--folder", suite_folder.folder, "--out", tmp_path / "report.html")
    assert result.exit_code == 2
    assert f"fedbench suite run {file}" in result.stderr


def test_run_is_shown_with_its_clients_classes_and_predictions(run_folder, tmp_path) -> None:
    assert go(run_folder, "--out", tmp_path / "run.html").exit_code == 0
    text, record = (tmp_path / "run.html").read_text(), read_record(run_folder)
    cells = Reader(text).cells
    assert {f"{one.recall:.3f}" for one in class_scores(record)} <= set(cells)
    assert text.count("data:image/png;base64,") == min(8, hits(record)) + min(8, 30 - hits(record))
    assert shown_confusion(text) == list(map(count_text, confusion(record).flat))
    assert f"fedbench run --config {run_folder / 'record.json'}" in text


def shown_confusion(text) -> list[str]:
    found = text[text.index('<th class="left">true class') :]
    return Reader(found[: found.index("</table>")]).cells


def hits(record) -> int:
    """How many test images client 0's model gets right."""
    found = read_correctness(record)
    return int(found.correct[found.predictor_of_client[0]].sum())


def test_record_without_models_is_shown_with_its_predictions_but_without_images(run_folder, tmp_path) -> None:
    (tmp_path / "copy.json").write_bytes((run_folder / "record.json").read_bytes())
    assert go(tmp_path / "copy.json", "--out", tmp_path / "run.html").exit_code == 0
    text = (tmp_path / "run.html").read_text()
    assert "--keep models" in text
    assert shown_confusion(text) == list(map(count_text, confusion(read_record(run_folder)).flat))
    assert "data:image/png" not in text


def altered(run_folder, tmp_path, **changes):
    """A copy of the run with other blocks in its record, and without digests of its tables."""
    folder = shutil.copytree(run_folder, tmp_path / "copy")
    record = read_record(folder)
    kept = {name: value for name, value in record.items() if name not in ("digest", "tables")}
    write_record(folder / "record.json", sealed({**kept, **changes}))
    return folder


def test_table_that_no_run_wrote_is_named(run_folder, tmp_path) -> None:
    folder = altered(run_folder, tmp_path)
    for text in ("", "round\nx", "round,bytes_up,bytes_down,bytes_peer\nx,y,z,1", "\0"):
        (folder / "clients.csv").write_text(text)
        result = go(folder, "--out", tmp_path / "run.html")
        assert (result.exit_code, str(folder / "clients.csv") in result.stderr) == (1, True), result.output


def test_images_of_another_dataset_are_not_shown(run_folder, tmp_path) -> None:
    record = read_record(run_folder)
    folder = altered(run_folder, tmp_path, data={**record["data"], "digest": "other"})
    assert go(folder, "--out", tmp_path / "run.html").exit_code == 0
    assert "not those of the run" in (tmp_path / "run.html").read_text()


def test_record_of_another_format_is_refused(run_folder, tmp_path) -> None:
    text = (run_folder / "record.json").read_text()
    (tmp_path / "old.json").write_text(text.replace(f'"format": {FORMAT}', f'"format": {FORMAT - 1}'))
    result = go(run_folder, tmp_path / "old.json", "--out", tmp_path / "run.html")
    assert result.exit_code == 1
    assert f"format {FORMAT - 1}" in result.stderr
    assert not (tmp_path / "run.html").exists()


def test_folder_of_runs_names_one_of_them(run_folder, tmp_path) -> None:
    result = go(run_folder.parent, "--out", tmp_path / "run.html")
    assert result.exit_code == 2
    assert f"fedbench report {run_folder}" in result.stderr
