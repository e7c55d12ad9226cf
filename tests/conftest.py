"""Fixtures for tests of more than one package."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
_CAPABILITY_VERSION = 0x20080522
_OVERRIDE = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: to access what the permission bits of a file forbid."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two processes with two threads each on two cores wait for each other: networks take up to five times as long."""
    import torch  # noqa: PLC0415  # collecting needs none of it

    torch.set_num_threads(1)


def _install(site: Path, name: str, source: str, version: str, entry_points: str) -> str:
    """What an installer leaves behind: a module and a .dist-info with metadata and entry points. Gives the module."""
    module = f"{name.replace('-', '_')}_module"
    (site / f"{module}.py").write_text(dedent(source))
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[fedbench]\n{entry_points or f'parts = {module}'}\n")
    return module


def _forget() -> None:
    """The registry reads anew what is installed."""
    if trial := sys.modules.get("fedbench_core.registry.trial"):
        trial.key_of_plugins.cache_clear()
    if catalog := sys.modules.get("fedbench_core.registry.catalog"):  # importing it takes seconds
        catalog.registry.cache_clear()


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """The registry reads what is installed at its first use in the test, and again after the test."""
    _forget()
    yield
    _forget()


@contextmanager
def _site(folder: Path) -> Iterator[Distribution]:
    """A folder on the path, and what installs distributions there."""
    made: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)

        def install(name: str, source: str, version: str = "1.0", entry_points: str = "") -> str:
            made.append(_install(folder, name, source, version, entry_points))
            patch.syspath_prepend(folder)  # again: importlib forgets what it knew of the folder
            _forget()
            return made[-1]

        yield install
    for module in made:
        sys.modules.pop(module, None)
    if made:
        _forget()


@pytest.fixture
def distribution(tmp_path: Path) -> Iterator[Distribution]:
    """Install a distribution for the length of a test: `distribution("fedbench-x", source)` gives its module's name.

    The registry knows it at once. It is a module and a .dist-info in a folder on the path (`tmp_path / "site"`).
    """
    (tmp_path / "site").mkdir()
    with _site(tmp_path / "site") as install:
        yield install


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distribution]:
    """As `distribution`, for the length of a module."""
    with _site(tmp_path_factory.mktemp("site")) as install:
        yield install


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The plugin `kit.py`, installed for the tests of a module; gives the folder to put on a process's path."""
    site = tmp_path_factory.mktemp("site")
    with _site(site) as install:
        install("fedbench-kit", (Path(__file__).parent / "kit.py").read_text())
        yield site


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """The test may access only what the permission bits of files allow, also if root runs it."""
    libc, header = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    before = (ctypes.c_uint32 * 6)()
    if libc.capget(header, before):
        pytest.skip("there are no capabilities here")
    fewer = (ctypes.c_uint32 * 6)(before[0] & ~_OVERRIDE, *before[1:])
    assert libc.capset(header, fewer) == 0
    yield
    assert libc.capset(header, before) == 0


@pytest.fixture(scope="module")
def suite_folders(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:  # noqa: ARG001  # installed
    """Make folders of suites with records: `suite_folders(folder)`; one tiny run serves a module."""
    spec = spec_from_file_location("suite_folder", Path(__file__).parent / "suite_folder.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    template = module.run_template(tmp_path_factory.mktemp("template"))
    return lambda folder: module.SuiteFolder(folder, template)


@pytest.fixture
def suite_folder(suite_folders: Callable[[Path], Any], tmp_path: Path) -> Any:
    """An empty folder for suites and records: `.suite()` writes a suite, `.fill(file)` records it."""
    return suite_folders(tmp_path / "leaderboards")


@pytest.fixture(scope="module")
def training_server(kit: Path, installed: Distribution) -> Path:  # noqa: ARG001  # its clients' local update
    """The plugin `training_server.py`, installed for the tests of a module; gives the folder to put on a path."""
    module = installed("fedbench-training-server", (Path(__file__).parent / "training_server.py").read_text())
    return next(Path(folder) for folder in sys.path if (Path(folder) / f"{module}.py").exists())
