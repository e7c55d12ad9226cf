import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedbench_core.report.write import write_report


@pytest.fixture(scope="module")
def suites(suite_folders, tmp_path_factory) -> Path:
    """A folder with one recorded suite."""
    made = suite_folders(tmp_path_factory.mktemp("suites"))
    made.fill(made.suite())
    return made.folder


@pytest.fixture(scope="module")
def report(suites: Path) -> Path:
    """The report of all suites of the folder."""
    path = suites.parent / "report.html"
    write_report((), suites, path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Debian's Chromium, driven by Playwright."""
    api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium on the PATH: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        yield browser
        browser.close()
