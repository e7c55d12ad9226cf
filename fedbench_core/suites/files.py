"""Suite files: reading one, and what is wrong with it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.api.limits import parse_toml, read_text
from fedbench_core.suites.choices import choices_file, read_choices
from fedbench_core.suites.grid import GridPoint
from fedbench_core.suites.suite import LESS_IS_BETTER, METRICS, Suite
from fedbench_core.suites.tables import Tuning

MOST_GRID_POINTS = 1_000_000
"""A million grid points take minutes and gigabytes to list."""
_LONGEST_NAME = 200
"""File systems have names of 255 bytes, and a file has a longer name while it is written."""
_SHOWN = 40


def suite_file(folder: Path, name: str) -> Path:
    """The TOML file of a suite, given by its name or path."""
    return Path(name) if name.endswith(".toml") else folder / "suites" / f"{name}.toml"


def read_suite(path: Path) -> Suite:
    """The suite in a TOML file; RequestError names the file and describes what is wrong with it."""
    try:
        values = parse_toml(read_text(path))
        suite = Suite(**values)
        suite._file = path  # noqa: SLF001  # pydantic has no other way for what is no key of the file
        suite._choices = read_choices(choices_file(path)).by_case if suite.tuning else {}  # noqa: SLF001  # as above
        _check(suite, path)
    except FileNotFoundError:
        others = ", ".join(str(other) for other in sorted(path.parent.glob("*.toml"))) or "none"
        raise RequestError(f"There is no suite {path}. Suites in that folder: {others}.") from None
    except ValidationError as error:
        raise RequestError(f"{path}: {problems_text(error)}.") from None
    except (OSError, ValueError, RequestError) as error:
        raise RequestError(f"{path}: {error}") from None
    return suite


def _check(suite: Suite, path: Path) -> None:
    if suite.name != path.stem:
        raise RequestError(f"its name is {suite.name!r}; expected {path.stem!r}, the name of the file.")
    for kind in ("seeds", "datasets", "backbones"):
        _check_distinct(kind, getattr(suite, kind), "Remove one")
    if suite.metric not in (None, *METRICS):
        raise unknown("metric", str(suite.metric), METRICS)
    for kind in ("entries", "partitions"):
        _check_distinct(kind, [row.name for row in getattr(suite, kind)], 'Set a different name = "..." for one')
    known = [entry.name for entry in suite.entries]
    named = [("[baselines]", name) for name in suite.baselines.names]
    for where, name in [*named, *(("planned", name) for pair in suite.planned for name in pair)]:
        if name not in known:
            raise unknown(f"entry (of {where})", name, known)
    if suite.tuning is not None:
        _check_tuning_seeds(suite, suite.tuning)
        _check_choices(suite, suite.tuning, path)
    _check_planned(suite)
    if suite.size > MOST_GRID_POINTS:
        raise RequestError(
            f"it has {suite.size} grid points; expected at most {MOST_GRID_POINTS}. Split it into several suites."
        )
    for grid_point in suite.grid_points(
        [max(suite.seeds)]
    ):  # with the longest names; other seeds differ in nothing else
        _check_grid_point(grid_point)


def _check_planned(suite: Suite) -> None:
    _check_distinct("planned", [tuple(sorted(pair)) for pair in suite.planned], "Remove one")
    for first, second in suite.planned:
        if first == second:
            raise RequestError(f"planned: {first!r} is compared with itself. Name two entries.")


def _check_tuning_seeds(suite: Suite, tuning: Tuning) -> None:
    _check_distinct("tuning.seeds", tuning.seeds, "Remove one")
    if both := sorted(set(tuning.seeds) & set(suite.seeds)):
        raise RequestError(
            f"tuning.seeds: {both[0]} is also a seed of the suite. Tune with other seeds, such as "
            f"{max(suite.seeds) + 1}: scores of seeds that chose the settings would be too good."
        )


def _check_choices(suite: Suite, tuning: Tuning, path: Path) -> None:
    """RequestError for a choice that equal tuning does not give; the records of the trials are not read."""
    for point in suite.default_points(suite.seeds[:1]):
        choice = suite.choice(point)
        if choice and (fault := choice.fault(tuning.trials, more_is_better=suite.metric not in LESS_IS_BETTER)):
            file = choices_file(path)
            raise RequestError(
                f"the choice for {choice.entry!r} in {file} {fault}. Restore {file}, or remove it and tune again: "
                f"fedbench suite tune {path}"
            )


def _check_grid_point(grid_point: GridPoint) -> None:
    if (length := len(grid_point.name)) > _LONGEST_NAME:
        raise RequestError(
            f"entry {grid_point.entry[:_SHOWN]!r}, partition {grid_point.partition[:_SHOWN]!r}: the file of a record "
            f"would have a name of {length} characters; expected at most {_LONGEST_NAME}. Use shorter names."
        )
    try:
        _ = grid_point.spec
    except RequestError as error:
        raise RequestError(f"entry {grid_point.entry!r}, partition {grid_point.partition!r}: {error}") from None


def _check_distinct(kind: str, values: Sequence[object], advice: str) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise RequestError(f"{kind}: {repeated[0]!r} appears twice. {advice}.")


def problems_text(error: ValidationError) -> str:
    """Everything that is wrong in a file, such as `entries.2.name: field required; seeds: ...`."""
    return "; ".join(_problem_text(problem) for problem in error.errors())


def _problem_text(problem: Any) -> str:
    """Such as `entries.2.name: field required`, with the value if it is short."""
    location = ".".join(map(str, problem["loc"]))
    value = problem["input"]
    shown = f" got {value!r};" if isinstance(value, str | int | float) else ""
    return f"{location}:{shown} {problem['msg'][0].lower()}{problem['msg'][1:]}"
