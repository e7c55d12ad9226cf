"""Runs the contract suites on installed parts, without their author's tests."""

import io
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType, MappingProxyType
from typing import Any, Literal

import pytest

from fedbench_core.api import FedbenchError, unknown
from fedbench_core.registry import KINDS, registry

Outcome = Literal["passed", "failed", "skipped"]
Options = Mapping[str, Mapping[str, object]]
NONE: Options = MappingProxyType({})
_FLAGS = (
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:logging",
    "-p",
    "no:unraisableexception",
    "--import-mode=importlib",
    "--capture=sys",
    "--tb=native",
)
SECONDS = 300
"""The time limit of a case."""
_PATIENCE = 3
"""After so many cases of a part that hit the limit, the others are skipped."""
_NO_END = "no end after"


@dataclass(frozen=True)
class Case:
    """The outcome of one case of a suite; `message` says why it failed or was skipped."""

    test: str
    outcome: Outcome
    message: str = ""


@dataclass
class Checked:
    """A part (or, with the kind "plugin", an entry point) and the outcomes of its cases."""

    kind: str
    name: str
    distribution: str
    cases: list[Case] = field(default_factory=list)

    def count(self, outcome: Outcome) -> int:
        """The number of cases with this outcome."""
        return sum(case.outcome == outcome for case in self.cases)


Watch = Callable[[Checked], None]


Only = Callable[[str, str], bool]


def _all(_part: str, _case: str) -> bool:
    """Run every case."""
    return True


def _unwatched(_checked: Checked) -> None:
    """Do nothing."""


def check(
    target: str = "",
    options: Options = NONE,
    watch: Watch = _unwatched,
    limit: int = SECONDS,
    only: Only = _all,
    settings: Mapping[str, object] = MappingProxyType({}),
) -> list[Checked]:
    """The outcomes of the contract suites for the parts of `target`.

    target: the name of a part, a distribution, or "" for all parts except the core's. options: of parts, by kind.
    watch: called after each part. limit: seconds per case. only: whether to run a case, by the names of its part and
    itself. settings: of the runs that test a method, as the flags of `fedbench run`. RequestError for an unknown
    target.
    """
    parts = _parts(target)
    broken = _plugins(target, named=not parts)
    if target and not broken + parts:
        names = {name for kind in KINDS for name in registry().names(kind)}
        raise unknown("part or plugin", target, names | {plugin.distribution for plugin in registry().plugins()})
    if parts:
        _run(parts, options, settings, _Collector(parts, _printing(watch), limit, only))
    return broken + parts


def _plugins(target: str, *, named: bool) -> list[Checked]:
    """An entry for each plugin with problems; if `named`, also for plugins that register the name."""
    broken = []
    for plugin in registry().plugins():
        names = [name for registered in plugin.registers.values() for name in registered] if named else []
        if plugin.problems and _is_meant(target, plugin.distribution, names):
            cases = [Case("loads", "failed", problem) for problem in plugin.problems]
            broken.append(Checked("plugin", plugin.entry_point, plugin.distribution, cases))
    return broken


def _parts(target: str) -> list[Checked]:
    """An entry without cases for each part."""
    described = [registry().describe(kind, name) for kind in KINDS for name in registry().names(kind)]
    return [
        Checked(part.kind, part.name, part.distribution)
        for part in described
        if _is_meant(target, part.distribution, [part.name])
    ]


def _is_meant(target: str, distribution: str, names: Iterable[str]) -> bool:
    return target in {distribution, *names} if target else distribution != "fedbench-core"


def _run(parts: Sequence[Checked], options: Options, settings: Mapping[str, object], collector: "_Collector") -> None:
    """Run a suite for each part with pytest."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        module = folder / f"test_{folder.name}.py"  # unique, because pytest caches modules by name
        module.write_text(_source(parts, options, settings))
        (folder / "pytest.ini").write_text("[pytest]\n")
        flags = ["--rootdir", scratch, "-c", str(folder / "pytest.ini"), "--basetemp", str(folder / "temporary")]
        output = io.StringIO()
        with redirect_stdout(output), redirect_stderr(output):
            status = pytest.main([str(module), *flags, *_FLAGS, "--no-summary"], plugins=[collector])
    if status not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED}:
        raise RuntimeError(f"pytest ended with {status!r}: {output.getvalue()}")


def _source(parts: Sequence[Checked], options: Options, settings: Mapping[str, object]) -> str:
    """A test module with a class for each part, in order."""
    suites = [f"{part.kind.title().replace('_', '')}Contract" for part in parts]
    lines = [f"from fedbench_core.testing import {suite}" for suite in sorted(set(suites))]
    for number, (part, suite) in enumerate(zip(parts, suites, strict=True)):
        lines += ["", "", f"class Test{number}({suite}):", f"    name = {part.name!r}"]
        if part.kind in options:
            lines.append(f"    options = {dict(options[part.kind])!r}")
        if part.kind == "method":
            lines.append(f"    settings = {dict(settings)!r}")
    return "\n".join([*lines, ""])


def _printing(watch: Watch) -> Watch:
    """A watcher that can print although pytest's output is captured."""
    out, err = sys.stdout, sys.stderr

    def watch_uncaptured(part: Checked) -> None:
        with redirect_stdout(out), redirect_stderr(err):
            watch(part)

    return watch_uncaptured


class _Collector:
    """A pytest plugin that adds the outcome of each case to its part, and stops cases that take too long."""

    def __init__(self, parts: Sequence[Checked], watch: Watch, limit: int, only: Only) -> None:
        self._parts = parts
        self._watch = watch
        self._limit = limit
        self._only = only

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Deselect the cases that `only` excludes."""
        items[:] = [item for item in items if self._only(self._part(item).name, item.name)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
        """Run a case; call the watcher after the last case of a part."""
        part = self._part(item)
        result = yield
        if nextitem is None or self._part(nextitem) is not part:
            self._watch(part)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Limit the time of fixtures, which create parts and load data."""
        endless = [case for case in self._part(item).cases if case.message.startswith(_NO_END)]
        with _ending(self._limit):
            if len(endless) >= _PATIENCE:
                pytest.skip(f"{_PATIENCE} cases of this part had no end")
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Limit the time of a case."""
        with _ending(self._limit):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add the outcome of a case; a failure of its fixtures counts as its own."""
        report = yield
        if report.when == "call" or report.outcome != "passed":
            self._part(item).cases.append(Case(item.name, report.outcome, _message(call.excinfo)))
        return report

    def _part(self, item: pytest.Item) -> Checked:
        number = item.nodeid.partition("::Test")[2].partition("::")[0]
        return self._parts[int(number)]


@contextmanager
def _ending(seconds: int) -> Iterator[None]:
    """Fail if the block takes longer; does nothing outside the main thread, where signals don't arrive."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        pytest.fail(f"{_NO_END} {seconds} seconds: an endless loop, or waiting for something that never comes")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _message(error: "pytest.ExceptionInfo[BaseException] | None") -> str:
    """Why a case failed or was skipped; for an exception of the plugin with its file and line."""
    if error is None:
        return ""
    text = "\n".join(_without_introspection(str(error.value).splitlines()))
    if isinstance(error.value, AssertionError | FedbenchError | pytest.fail.Exception | pytest.skip.Exception):
        return text
    return f"{error.typename}: {text}".removesuffix(": ") + f" ({_place(error)})"


def _place(error: "pytest.ExceptionInfo[BaseException]") -> str:
    """File and line of the deepest frame that is neither fedbench's nor a library's."""
    known = {"fedbench_core", "torch", "numpy", "_pytest", "pluggy"}
    own = [entry for entry in error.traceback if not known & set(Path(entry.path).parts)] or list(error.traceback)
    return f"{own[-1].path}:{own[-1].lineno + 1}"


def _without_introspection(lines: Sequence[str]) -> Iterator[str]:
    """The message of an assertion, without pytest's explanation of values, which starts on the second line."""
    yield from lines[:1]
    for line in lines[1:]:
        if line.startswith(("assert ", " +", "E ")):
            return
        yield line
