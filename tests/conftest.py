"""Fixtures for tests of more than one package."""

import sys
from collections.abc import Callable, Iterator
from textwrap import dedent

import pytest

Distribution = Callable[..., str]


@pytest.fixture
def distribution(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distribution]:
    """Install a distribution for the length of a test: `distribution("fedbench-x", source)` gives its module's name.

    It is what an installer leaves behind: a module and a .dist-info with metadata and entry points, in a folder on the
    path (`tmp_path / "site"`).
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    made: list[str] = []

    def install(name: str, source: str, version: str = "1.0", entry_points: str = "") -> str:
        module = f"{name.replace('-', '_')}_module"
        (site / f"{module}.py").write_text(dedent(source))
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[fedbench]\n{entry_points or f'parts = {module}'}\n")
        monkeypatch.syspath_prepend(site)  # again: importlib forgets what it knew of the folder
        made.append(module)
        return module

    yield install
    for module in made:
        sys.modules.pop(module, None)
