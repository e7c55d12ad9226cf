"""Who may import whom: the floors of the house, read off the source."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = "fedbench_core"

# A package imports from floors below its own; the packages of one floor don't import each other.
FLOORS = (
    {"api"},
    {"data", "models", "registry", "learning", "statistics", "escapes", "garbage"},
    {"parts"},
    {"federation"},
    {"records"},
    {"runner", "inference"},
    {"suites", "prediction", "tracking"},
    {"plots"},
    {"leaderboard"},
    {"report"},
    {"notebook"},
    {"testing"},
    {"cli"},
)
FLOOR = {package: number for number, floor in enumerate(FLOORS) for package in floor}

PUBLIC = {"api", "learning"}
"""What parts and plugins stand on."""
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "src").is_dir())


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a file imports, also inside functions and for type checking."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively: name the package"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _packages(path: Path) -> set[tuple[int, str]]:
    """The packages of the core that a file imports from, with the line."""
    found = {(line, name.split(".")[1]) for line, name in _imports(path) if name.startswith(f"{CORE}.")}
    return {(line, package) for line, package in found if package in FLOOR}


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "build" not in path.parts)


def test_every_package_has_a_floor() -> None:
    packages = {path.parent.name for path in (ROOT / CORE).glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / CORE).glob("*.py")} - {"__init__"}
    assert packages | modules == set(FLOOR)


@pytest.mark.parametrize("package", sorted(FLOOR))
def test_nothing_is_imported_from_the_same_floor_or_above(package) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {other}"
        for path in [*_sources(ROOT / CORE / package), *(ROOT / CORE).glob(f"{package}.py")]
        for line, other in sorted(_packages(path))
        if other != package and FLOOR[other] >= FLOOR[package]
    ]
    assert not wrong, "\n".join(wrong)


def test_parts_stand_on_the_public_names_as_plugins_do() -> None:
    """But for the datasets, which the core's parts register for the data package."""
    allowed = {*PUBLIC, "parts"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {other}"
        for path in _sources(ROOT / CORE / "parts")
        for line, other in sorted(_packages(path))
        if other not in allowed and (path.name, other) != ("__init__.py", "data")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_public_names_and_no_other_plugin(plugin) -> None:
    others = {f"fedbench_{name}" for name in PLUGINS if name != plugin}
    for path in _sources(ROOT / "plugins" / plugin):
        testing = {"testing"} if "tests" in path.parts else set()
        for line, name in _imports(path):
            where = f"{path.relative_to(ROOT)}:{line} imports {name}"
            assert name.split(".")[0] not in others, f"{where}: plugins don't know each other"
            if not testing and name.startswith(CORE):
                assert name.split(".")[1:2] != [], f"{where}: import from {CORE}.api or {CORE}.learning"
        if not testing:
            private = {other for _, other in _packages(path)} - PUBLIC
            assert not private, f"{path.relative_to(ROOT)} imports {private}; plugins stand on {PUBLIC}"


def test_the_core_knows_no_plugin_and_asks_for_no_methods_name() -> None:
    for path in _sources(ROOT / CORE):
        for line, name in _imports(path):
            assert name.split(".")[0] not in {f"fedbench_{plugin}" for plugin in PLUGINS}, f"{path}:{line}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in PLUGINS:
                pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno} names the method {node.value!r}")


def test_only_the_command_line_prints() -> None:
    for path in _sources(ROOT / CORE):
        if "cli" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            call = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(call, ast.Name) and call.id == "print"), f"{path}:{node.lineno} prints"


def test_nothing_is_pickled_by_hand() -> None:
    for path in [*_sources(ROOT / CORE), *_sources(ROOT / "plugins")]:
        if "tests" in path.parts:
            continue
        names = {name.split(".")[0] for _, name in _imports(path)}
        assert not names & {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}, path
        text = path.read_text(encoding="utf-8")
        assert "torch.load(" not in text, path
        assert "torch.save(" not in text, path
        assert "allow_pickle=True" not in text, path


@pytest.mark.parametrize(
    "program",
    [
        "import fedbench_core",
        "import fedbench_core; fedbench_core.__version__",
        "import fedbench_core.cli",
        "import fedbench_core.testing",
        "import fedbench_core.report.write",
        "from fedbench_core.cli import fedbench; fedbench(['--help'], standalone_mode=False)",
    ],
)
def test_torch_is_not_imported_before_it_is_needed(program) -> None:
    code = f"{program}\nimport sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_libraries_of_trackers_are_imported_by_trackers_only() -> None:
    for path in [path for path in _sources(ROOT) if "tests" not in path.parts]:
        names = {re.sub(r"^torch\.utils\.", "", name).split(".")[0] for _, name in _imports(path)}
        assert path.stem == "trackers" or not names & {"tensorboard", "mlflow", "wandb"}, path


def test_the_core_knows_no_method_by_name() -> None:
    names = re.compile("fedavg|fedprox|fedkd|fedmic|fedskd|scaffold_|feddf|fedamp", re.IGNORECASE)
    telling = [str(path) for path in (ROOT / "fedbench_core").rglob("*.py") if names.search(path.read_text())]
    assert not telling
