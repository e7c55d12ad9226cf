"""Tables in other documents than the pages."""

import pytest
from click.testing import CliRunner

from fedbench_core.api import RequestError, RunError
from fedbench_core.cli.leaderboard import command
from fedbench_core.leaderboard.outcome import outcome
from fedbench_core.leaderboard.pages import check, read_leaderboard, render, write

ASKED = '<!-- fedbench {"suite": "small", "entries": ["fedavg", "local"], "columns": ["personalization", "mb_up"]} -->'
END = "<!-- /fedbench -->"


@pytest.fixture
def readme(suite_folder):
    """A README of a plugin beside a folder of leaderboards, with room for a table."""
    suite_folder.fill(suite_folder.suite())
    path = suite_folder.folder.parent / "plugins" / "one" / "README.md"
    path.parent.mkdir(parents=True)
    path.write_text(f"# One\n\n{ASKED}\nold\n{END}\n\nThe end.\n")
    return path


def test_table_is_rendered_between_its_comments_and_nothing_else_changes(readme, suite_folder) -> None:
    readme.rename(readme.with_name("text"))
    readme.symlink_to("text")
    write(render(suite_folder.folder))
    assert readme.is_symlink()
    before, table, after = readme.read_text().replace(END, ASKED).split(ASKED)
    assert (before, after) == ("# One\n\n", "\n\nThe end.\n")
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert rows[2:] == ["fedavg", "local"]
    assert "[small](../../leaderboards/small.md)" in table
    check(render(suite_folder.folder))


def test_number_of_seeds_is_that_of_the_records(readme, suite_folder) -> None:
    for path in suite_folder.folder.glob("records/small/*-s[34]-*.json"):
        path.unlink()
    write(render(suite_folder.folder))
    assert "Means over 3 seeds" in readme.read_text()


def test_table_that_differs_from_the_records_is_found(readme, suite_folder) -> None:
    write(render(suite_folder.folder))
    text = readme.read_text()
    readme.write_text(text.replace("0.5", "0.6", 1))
    assert readme.read_text() != text
    with pytest.raises(RunError, match=r"plugins/one/README\.md differs from the records in line"):
        check(render(suite_folder.folder))
    assert CliRunner().invoke(command, ["--folder", str(suite_folder.folder), "--check"]).exit_code != 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (END, "", "is not followed by <!-- /fedbench -->"),
        ("fedavg", "fedagv", "fedagv"),
        ("mb_up", "mb_pu", "mb_pu"),
        ("mb_up", "brier", r"column \(of suite small\)"),  # a score that its tables do not show
        ("entries", "rows", "entries: field required"),
        ("small", "smal", "smal"),
    ],
)
def test_table_that_asks_for_what_does_not_exist_is_refused(readme, suite_folder, old, new, message) -> None:
    readme.write_text(readme.read_text().replace(old, new))
    with pytest.raises(RequestError, match=rf"README\.md.*(?s:.*){message}"):
        render(suite_folder.folder)


def test_document_that_is_not_utf8_is_named_if_it_holds_a_table(readme, suite_folder) -> None:
    (suite_folder.folder.parent / "OLD.md").write_bytes(b"caf\xe9")
    render(suite_folder.folder)
    readme.write_bytes(readme.read_bytes() + b"caf\xe9")
    with pytest.raises(RequestError, match=r"README\.md.*UTF-8"):
        render(suite_folder.folder)


def test_table_of_another_suite_than_the_one_asked_for_stays(readme, suite_folder) -> None:
    suite_folder.fill(suite_folder.suite("other"))
    write(render(suite_folder.folder, "other"))
    assert "\nold\n" in readme.read_text()


def test_table_of_a_suite_without_records_says_how_to_run_it(readme, suite_folder) -> None:
    suite_folder.suite("larger")
    readme.write_text(readme.read_text().replace('"small"', '"larger"'))
    write(render(suite_folder.folder))
    assert "Not run yet: `fedbench suite run leaderboards/suites/larger.toml`" in readme.read_text()
    check(render(suite_folder.folder))


def test_smoke_test_is_listed_apart_and_called_so_on_its_page(suite_folder) -> None:
    tried = suite_folder.suite("tried", smoke_test=True)
    suite_folder.fill(tried)
    suite_folder.fill(suite_folder.suite())
    write(render(suite_folder.folder))
    index = (suite_folder.folder / "README.md").read_text()
    assert [line.split("|")[1].strip() for line in index.splitlines() if line.startswith("| [")] == [
        "[small](small.md)"
    ]
    assert "[tried](tried.md)" in index
    assert "smoke test" in (suite_folder.folder / "tried.md").read_text()
    assert "smoke test" in outcome(read_leaderboard(tried))[0]  # as in a report
    shown = CliRunner().invoke(command, ["tried", "--folder", str(suite_folder.folder)])
    assert "This is a smoke test." in shown.stdout
    assert "smoke test" not in (suite_folder.folder / "small.md").read_text()
