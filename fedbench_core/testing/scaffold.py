"""Writes a new plugin from the template of its kind."""

import keyword
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from fedbench_core.api import RequestError, unknown
from fedbench_core.federation.files import replace_file
from fedbench_core.models import knows
from fedbench_core.registry import KINDS, registry

USES = {
    "partitioner": "--method local --partitioner example",
    "local_update": "--method example",
    "compressor": "--method METHOD --compressor example",
    "aggregator": "--method METHOD --aggregator example",
    "topology": "--method METHOD --topology example",
    "dataset": "--method local --dataset example",
    "backbone": "--method local --backbones example",
    "method": "--method example",
    "tracker": "--method local --track example",
}
"""The flags of `fedbench run` that use a part of each kind."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def create(name: str, kind: str, out: Path) -> Path:
    """Write the package `fedbench-NAME` with a part NAME of this kind below `out`; returns its folder.

    It can be installed, runs, and passes its contract tests. RequestError for a name that is taken or invalid, an
    unknown kind, or a folder that exists.
    """
    if kind not in KINDS:
        raise unknown("kind of part", kind, KINDS)
    _check_spelling(name, _template(f"{kind}.py"))
    _check_free(name)
    if kind == "backbone" and knows(name):
        raise RequestError(f"timm has a backbone {name!r}, so runs could not use yours. Choose another name.")
    folder = out / f"fedbench-{name}"
    if folder.exists():
        raise RequestError(f"{folder} exists already. Choose another name, or another folder with --out.")
    for path, text in _contents(name, kind):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        replace_file(folder / path, text.encode())
    return folder


def _check_spelling(name: str, template: str) -> None:
    """Refuse names that can't be a module or class, or that the template itself uses."""
    if not _NAME.fullmatch(name):
        close = "-".join(re.findall(r"[a-z0-9]+", name.lower())).lstrip("-0123456789")
        guess = f" Try {close!r}." if close else ""
        raise RequestError(f"{name!r} is not a valid name: expected lower-case words and digits, as in top-k.{guess}")
    if keyword.iskeyword(_class(name)) or re.search(rf"\b{_class(name)}\b", template):
        raise RequestError(f"The class of {name!r} would be {_class(name)}, which exists already. Add a word.")


def _check_free(name: str) -> None:
    taken = [kind.replace("_", " ") for kind in registry().kinds(name)]
    if taken:
        raise RequestError(
            f"There is a {' and a '.join(taken)} named {name!r} already (see `fedbench show {name}`). "
            "Choose another name."
        )
    if _installed(f"fedbench-{name}") or find_spec(_module(name)) is not None:
        raise RequestError(f"A package fedbench-{name} is installed already. Choose another name.")


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _template(name: str) -> str:
    return files("fedbench_core.testing.templates").joinpath(name).read_text(encoding="utf-8")


def _contents(name: str, kind: str) -> Iterator[tuple[str, str]]:
    """Path and contents of every file."""
    module = _module(name)
    yield "pyproject.toml", _renamed(_template("pyproject.txt"), name, kind)
    yield "README.md", _renamed(_template("readme.txt"), name, kind)
    yield f"src/{module}/__init__.py", _renamed(_template(f"{kind}.py"), name, kind)
    yield f"src/{module}/py.typed", ""
    yield "tests/test_contracts.py", _renamed(_tests(kind), name, kind)


def _tests(kind: str) -> str:
    """A suite for each part that the template registers."""
    kinds = ("local_update", "method") if kind in {"local_update", "method"} else (kind,)
    suites = {f"Test{_class(each)}": f"{_class(each)}Contract" for each in kinds}
    classes = [f'class {test}({suite}):\n    name = "example"\n' for test, suite in suites.items()]
    return f"from fedbench_core.testing import {', '.join(suites.values())}\n\n\n" + "\n\n".join(classes)


def _renamed(text: str, name: str, kind: str) -> str:
    """A template with `name` in place of `example`."""
    text = text.replace("USE\n", f"{USES[kind]}\n").replace("KIND", kind.replace("_", " "))
    text = re.sub("Example(?!s)", _class(name), text.replace("fedbench_example", _module(name)))
    return re.sub("(?<!_)example(?!s)", name, text)  # and not the word in num_examples


def _module(name: str) -> str:
    return f"fedbench_{name.replace('-', '_')}"


def _class(name: str) -> str:
    return "".join(word.capitalize() for word in re.split("[-_]", name))
