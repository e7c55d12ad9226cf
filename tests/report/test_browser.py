"""The report in a real browser: what its script does, and that it needs nothing from elsewhere."""

import csv
import io
from contextlib import contextmanager

import pytest

from fedbench_core.report.write import write_report

NAMES = "() => [...document.querySelectorAll('.board tbody tr')].filter(r => !r.hidden).map(r => r.dataset.entry)"


@contextmanager
def opened(browser, report):
    """A report in the browser; at the end, the browser has reported no problem and fetched nothing else."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    said, fetched = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(report.as_uri())
    yield page
    context.close()
    assert said == []
    assert [url for url in fetched if not url.startswith("data:image/png;")] == [report.as_uri()]


@pytest.fixture(scope="module")
def page(browser, report):
    with opened(browser, report) as page:
        yield page


def values(page, column) -> list[float]:
    cells = page.locator(f".board tbody [data-column={column}]")
    return [float(one) for one in cells.evaluate_all("cells => cells.map(cell => cell.dataset.value)")]


def test_column_is_sorted_from_its_better_end_and_then_turned(page) -> None:
    for column, first in (("ece", False), ("balanced_accuracy", True), ("personalization", True)):
        header = page.locator(f".board th[data-column={column}] button")
        header.click()
        assert values(page, column) == sorted(values(page, column), reverse=first)
        header.click()
        assert values(page, column) == sorted(values(page, column), reverse=not first)
    page.locator(".board th[data-column=entry] button").click()
    assert page.evaluate(NAMES) == sorted(page.evaluate(NAMES), key=str.casefold)


def test_filters_keep_the_entries_that_fit_all_of_them(page) -> None:
    page.fill("[name=words]", "LOCAL")
    assert set(page.evaluate(NAMES)) == {"local", "local, equal FLOPs"}
    page.fill("[name=words]", "")
    page.fill("[name=budget]", "0")
    assert set(page.evaluate(NAMES)) == {"local", "local, equal FLOPs", "majority", "centralized"}
    assert page.inner_text("output") == "4 of 6 entries"
    page.fill("[name=budget]", "")
    page.select_option("[name=fidelity]", "full")
    assert len(page.evaluate(NAMES)) == 6


def test_column_is_shown_when_it_is_picked(page) -> None:
    cells, box = page.locator(".board [data-column=gflops]"), page.locator("[name=column][value=gflops]")
    assert not any(cell.is_visible() for cell in cells.all())
    page.locator(".tools summary").click()
    box.check()
    assert all(cell.is_visible() for cell in cells.all())


def test_entry_that_is_pointed_at_marks_those_it_differs_from(page) -> None:
    rows = page.locator(".board tbody tr")
    page.locator("tr[data-entry=fedavg]").hover()
    assert rows.and_(page.locator(".better")).evaluate_all("rows => rows.map(r => r.dataset.entry)") == ["centralized"]
    worse = rows.and_(page.locator(".worse")).evaluate_all("rows => rows.map(r => r.dataset.entry)")
    assert set(worse) == {"majority", "local", "local, equal FLOPs"}


def test_axes_of_the_tradeoff_are_chosen(page) -> None:
    chart = page.locator("figure").first
    chart.scroll_into_view_if_needed()
    selects = chart.locator("select")
    selects.first.wait_for()
    before = chart.locator("svg").inner_html()
    selects.nth(0).select_option("gflops")
    selects.nth(1).select_option("worst_client")
    page.wait_for_function("document.querySelector('figure svg').textContent.includes('worst client ↑ against GFLOPs')")
    assert chart.locator("svg").inner_html() != before


def test_every_seed_is_drawn_on_demand(page) -> None:
    chart = page.locator("figure").nth(1)
    chart.scroll_into_view_if_needed()
    box = chart.locator("input[type=checkbox]")
    box.wait_for()
    lines = chart.locator("svg path")
    before = lines.count()
    box.check()
    page.wait_for_function(f"document.querySelectorAll('figure')[1].querySelectorAll('svg path').length > {before}")


def test_table_and_command_are_copied(page) -> None:
    copied = {}
    for form in ("CSV", "LaTeX", "Markdown"):
        page.click(f"[data-copy={form}]")
        copied[form] = page.evaluate("navigator.clipboard.readText()")
    assert len(list(csv.DictReader(io.StringIO(copied["CSV"])))) == 6
    assert r"\toprule" in copied["LaTeX"]
    assert copied["Markdown"].startswith("|")
    page.fill("[name=words]", "local")
    page.click("[data-copy=CSV]")
    entries = csv.DictReader(io.StringIO(page.evaluate("navigator.clipboard.readText()")))
    assert [row["entry"] for row in entries] == page.evaluate(NAMES)
    page.click("[data-copy=LaTeX]")
    latex = page.evaluate("navigator.clipboard.readText()")
    assert (latex.count(" \\\\\n"), latex.count("centralized")) == (3 * (1 + 2), 0)  # headings and two rows
    page.fill("[name=words]", "")
    row = page.locator("tr[data-entry=fedavg]")
    row.locator("[data-command]").click()
    assert page.evaluate("navigator.clipboard.readText()") == row.locator("code").inner_text()


def test_run_has_its_charts_and_images(browser, run_folder, tmp_path) -> None:
    write_report((str(run_folder),), tmp_path, tmp_path / "run.html")
    with opened(browser, tmp_path / "run.html") as page:
        for chart in page.locator("figure").all():
            chart.scroll_into_view_if_needed()
        page.wait_for_function("document.querySelectorAll('.vega-embed svg').length === 2")
        sizes = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert sizes
    assert all(sizes)


def test_report_of_one_seed_without_baselines_has_its_charts(browser, suite_folder, tmp_path) -> None:
    suite_folder.fill(suite_folder.suite(seeds=1, entries=suite_folder.entries[-2:], baselines={}))
    write_report((), suite_folder.folder, tmp_path / "report.html")
    with opened(browser, tmp_path / "report.html") as page:
        for chart in page.locator("figure").all():
            chart.scroll_into_view_if_needed()
        page.wait_for_function("document.querySelectorAll('.vega-embed svg').length === 3")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_is_complete_without_javascript_on_a_phone(browser, report, scheme) -> None:
    context = browser.new_context(
        java_script_enabled=False, color_scheme=scheme, viewport={"width": 400, "height": 800}
    )
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator(".board tbody tr").count() == 6
    assert page.locator("figure svg").count() == 3
    assert not page.locator(".tools").is_visible()
    body = page.locator("body").bounding_box()
    assert body["width"] <= 400
    context.close()
