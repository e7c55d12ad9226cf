"""Fixtures for tests of more than one package."""

import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of the code: nothing here is timed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

Distribution = Callable[..., str]


def _install(site: Path, name: str, source: str, version: str, entry_points: str) -> str:
    """What an installer leaves behind: a module and a .dist-info with metadata and entry points. Gives the module."""
    module = f"{name.replace('-', '_')}_module"
    (site / f"{module}.py").write_text(dedent(source))
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[fedbench]\n{entry_points or f'parts = {module}'}\n")
    return module


@pytest.fixture
def distribution(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distribution]:
    """Install a distribution for the length of a test: `distribution("fedbench-x", source)` gives its module's name.

    It is a module and a .dist-info in a folder on the path (`tmp_path / "site"`).
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    made: list[str] = []

    def install(name: str, source: str, version: str = "1.0", entry_points: str = "") -> str:
        made.append(_install(site, name, source, version, entry_points))
        monkeypatch.syspath_prepend(site)  # again: importlib forgets what it knew of the folder
        return made[-1]

    yield install
    for module in made:
        sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The plugin `kit.py`, installed for the tests of a module; gives the folder to put on a process's path."""
    from fedbench_core.registry import registry  # noqa: PLC0415  # torch: seconds that other tests do not need

    site = tmp_path_factory.mktemp("site")
    module = _install(site, "fedbench-kit", (Path(__file__).parent / "kit.py").read_text(), "1.0", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        registry.cache_clear()
        yield site
    registry.cache_clear()
    sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def shelves(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:  # noqa: ARG001  # installed
    """Make folders of suites with records, as `shelf.py` does: `shelves(folder)`; one tiny run serves a module."""
    spec = spec_from_file_location("fedbench_shelf", Path(__file__).parent / "shelf.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    template = module.run_template(tmp_path_factory.mktemp("template"))
    return lambda folder: module.Shelf(folder, template)


@pytest.fixture
def shelf(shelves: Callable[[Path], Any], tmp_path: Path) -> Any:
    """An empty folder for suites and records: `shelf.suite()` writes one, `shelf.fill(file)` records it."""
    return shelves(tmp_path / "leaderboards")
