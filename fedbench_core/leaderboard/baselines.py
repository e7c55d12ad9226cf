"""The rows without which a comparison says nothing: what a federation is to be compared with."""

from collections.abc import Callable, Iterator, Mapping

from fedbench_core.api import RequestError
from fedbench_core.leaderboard.budget import bytes_per_turn
from fedbench_core.leaderboard.cases import Case, Record, Runs
from fedbench_core.statistics.intervals import defined_mean
from fedbench_core.suites.suite import Suite

MEANINGS = {
    "steps": "as many local steps, nothing travels",
    "flops": "as many training FLOPs, nothing travels",
    "centralized": "all clients' images in one place",
    "tuned": "a common model that every client fine-tunes",
    "unshared": "the same models, never shared",
}
_ENOUGH = 0.9
"""Of the FLOPs of the dearest entry: whole epochs can't meet it exactly."""


def required(suite: Suite, runs: Runs) -> list[tuple[str, str | None, str]]:
    """The compulsory rows of a case: which it is, the entry that the suite names for it, and what calls for it."""
    baselines = suite.baselines
    rows = [(kind, getattr(baselines, kind), "every leaderboard") for kind in ("steps", "flops", "centralized")]
    personal = next((name for name, own in runs.items() if _any(own, _personalizes)), None)
    if personal is not None:
        rows.append(("tuned", baselines.tuned, f"{personal!r}, which gives clients models of their own"))
    for name, own in runs.items():
        if name != baselines.tuned and _any(own, _scores_two_models):
            why = f"{name!r}, which scores a second model of each client"
            rows.append(("unshared", baselines.unshared.get(name), why))
    return rows


def check(suite: Suite, case: Case, runs: Runs) -> None:
    """RequestError if a compulsory row is missing or is not what it is said to be, with what to do about it."""
    problems = [problem for kind, name, why in required(suite, runs) for problem in _problems(kind, name, why, runs)]
    if problems:
        raise RequestError(
            f"No leaderboard of suite {suite.name} for {case}, because compulsory rows are missing: "
            f"{'; '.join(problems)}. Name the rows under [baselines] in leaderboards/suites/{suite.name}.toml, "
            f"and run what is missing: fedbench suite run leaderboards/suites/{suite.name}.toml"
        )


def _problems(kind: str, name: str | None, why: str, runs: Runs) -> Iterator[str]:
    row = f"{kind} ({MEANINGS[kind]}; for {why})"
    if name is None and kind == "unshared":  # no record tells a pupil from a copy that is scored as it was received
        yield f"{row} is not named; if the two do not teach each other, that is the row named for steps"
    elif name is None:
        yield f"{row} is not named"
    elif name not in runs:
        yield f"{row} is to be {name!r}, which has no record here"
    elif fault := _fault(kind, name, runs):
        yield f"{row} is to be {name!r}, which {fault}"


def _fault(kind: str, name: str, runs: Runs) -> str:
    """What a row is not that it should be, as far as its records tell; or nothing."""
    own = list(runs[name].values())
    if kind in ("steps", "flops", "unshared") and any(map(bytes_per_turn, own)):
        return "communicates"
    if kind == "steps" and (budget := _other_budget(name, runs)):
        return budget
    if kind == "centralized" and any(record["population"]["trained"] != 1 for record in own):
        return "trains more than one model"
    if kind == "tuned" and not all(map(_personalizes, own)):
        return "does not communicate, or gives all clients one model"
    if kind == "flops":
        most, spent = max(map(_gflops, runs.values())), _gflops(runs[name])
        if spent < _ENOUGH * most:
            return f"trains with {spent:.4g} GFLOPs, where the dearest entry takes {most:.4g}"
    return ""


def _other_budget(name: str, runs: Runs) -> str:
    """What the row for equal steps trains, if no entry that communicates trains as much; or nothing."""
    budgets = {_budget(record) for own in runs.values() for record in own.values() if bytes_per_turn(record)}
    odd = next((budget for record in runs[name].values() if (budget := _budget(record)) not in budgets), "")
    return f"trains {odd}, as no entry does that communicates" if odd and budgets else ""


def _budget(record: Record) -> str:
    spec = record["spec"]
    turn = f"{spec['steps']} steps" if spec["steps"] else f"{spec['epochs']} epochs"
    return f"{spec['rounds']} rounds of {turn} of {spec['batch_size']} images"


def _gflops(own: Mapping[int, Record]) -> float:
    return defined_mean([record["costs"]["training_gflops"] or 0.0 for record in own.values()])[0]


def _any(own: Mapping[int, Record], says: Callable[[Record], bool]) -> bool:
    return any(map(says, own.values()))


def _personalizes(record: Record) -> bool:
    return bytes_per_turn(record) > 0 and len(set(record["test"]["matrix"]["predictor_of_client"])) > 1


def _scores_two_models(record: Record) -> bool:
    return bytes_per_turn(record) > 0 and bool(record["test"]["roles"])
