import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.report.write import write_report
from fedbench_core.runner import How


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
def run_folder(kit, tmp_path_factory) -> Path:  # noqa: ARG001  # installed
    """The folder of a tiny run that kept its models."""
    settings = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2}
    return run(RunSpec.of(settings), How(out=tmp_path_factory.mktemp("runs"), executor="serial")).folder


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
