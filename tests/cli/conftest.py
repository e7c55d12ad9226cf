import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fedbench_core.cli import fedbench


@pytest.fixture
def cli() -> Callable[..., Result]:
    """Run a command in this process; the registry sees the plugins that the test installed."""
    return lambda *arguments: CliRunner().invoke(fedbench, arguments, prog_name="fedbench")


@pytest.fixture
def cli_json(cli) -> Callable[..., Any]:
    """The value that a command prints with --json."""

    def read(*arguments: str) -> Any:
        result = cli(*arguments, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return read


@pytest.fixture
def environment(kit: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has the plugin `kit.py` and a cache of its own."""
    path = os.pathsep.join([str(kit), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return {**os.environ, "PYTHONPATH": path, "FEDBENCH_CACHE": str(tmp_path / "cache")}


PLUGIN = '''
from typing import Annotated, Literal

from pydantic import Field

from fedbench_core.api import Method, hookimpl


def thin(
    every: Annotated[int, Field(ge=1, description="stride")] = 2,
    side: Literal["left", "right"] = "left",
    soft: bool = False,
    cap: float | None = None,
):
    """Keeps every n-th entry.

    The rest is gone.
    """


def twice():
    """Sends everything twice."""


def file(path: Annotated[str, Field(description="which")]):
    """One file."""


@hookimpl
def fedbench_register_compressors():
    return {"test-thin": thin, "test-twice": twice}


@hookimpl
def fedbench_register_local_updates():
    return {"test-twice": twice}


@hookimpl
def fedbench_register_datasets():
    return {"test-file": file}


@hookimpl
def fedbench_register_methods():
    return {
        "test-method": Method(
            local_update="test-twice",
            compressor="test-thin",
            options={"compressor": {"every": 7}},
            mixed_backbones=True,
            paper="Doe 2020",
            summary="Thin federations.",
        ),
        "test-halfway": Method(local_update="test-nowhere"),
    }
'''


@pytest.fixture(scope="module")
def plugin(installed) -> None:
    """An installed plugin with parts, a dataset and methods."""
    installed("fedbench-test", PLUGIN, version="4.5")
