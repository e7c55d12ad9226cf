"""The compulsory baseline rows of a leaderboard."""

from collections.abc import Callable, Iterator, Mapping

from fedbench_core.leaderboard.misfits import Record, Runs
from fedbench_core.records.costs import bytes_per_turn, gflops
from fedbench_core.records.scored import scored
from fedbench_core.statistics.intervals import defined_mean
from fedbench_core.suites.controls import Controls, EntryControl, suite_controls
from fedbench_core.suites.suite import Suite

MEANINGS = {
    "majority": "each client's most frequent class",
    "steps": "local training with equal steps",
    "flops": "local training with as many FLOPs as the costliest entry",
    "centralized": "centralized training on the images of all clients",
    "tuned": "a global model fine-tuned by each client",
    "unshared": "the same pair of models without communication",
    "control": "the same without the idea that the method claims",
}
ALWAYS = ("majority", "steps", "flops", "centralized")
"""The baselines that every leaderboard needs."""
_SILENT = ("majority", "steps", "flops", "unshared")
_MIN_FLOPS = 0.9
"""Fraction of the FLOPs of the most expensive entry: whole epochs can't match it exactly."""


def compulsory(suite: Suite, runs: Runs, controls: Controls) -> list[tuple[str, str | None, str, str]]:
    """The compulsory baselines of a case: their kind, the entry that the suite names, that which needs it, and why.

    The third is "" for a baseline that is not for a single entry.
    """
    baselines = suite.baselines
    rows = [(kind, getattr(baselines, kind), "", "all leaderboards") for kind in ALWAYS]
    personal = next((name for name, own in runs.items() if _any(own, _personalizes)), None)
    if personal is not None:
        rows.append(("tuned", baselines.tuned, "", f"{personal!r}, which trains personal models"))
    for name, own in runs.items():
        control = controls.get(name, EntryControl(None))
        if control is not None and control.declared is not None:
            rows.append(("control", control.name, name, f"{name!r}: {control.declared.text}"))
        elif control is not None and name != baselines.tuned and scores_two_models(own):
            rows.append(("unshared", control.name, name, f"{name!r}, which evaluates two models per client"))
    return rows


def missing(suite: Suite, runs: Runs, controls: Controls) -> list[str]:
    """What is wrong with the compulsory baselines: missing ones, and those that are another kind of run."""
    rows = compulsory(suite, runs, controls)
    odd = [
        f"control of {name!r} is {own.name!r}, which {own.fault}; expected {own.declared.text}"
        for name, own in controls.items()
        if own is not None and own.declared is not None and own.fault and name in runs
    ]
    return [problem for kind, name, _, why in rows for problem in _problems(kind, name, why, runs)] + odd


def unnamed(suite: Suite) -> list[str]:
    """The baselines that every ranked leaderboard needs, and the controls of entries, that the suite doesn't name."""
    always = [f"{kind} ({MEANINGS[kind]})" for kind in ALWAYS if getattr(suite.baselines, kind) is None]
    lacking = {name: own.declared for name, own in suite_controls(suite).items() if own is not None and not own.name}
    return always + [f"the control of {name!r} ({control.text})" for name, control in lacking.items() if control]


def _problems(kind: str, name: str | None, why: str, runs: Runs) -> Iterator[str]:
    row = f"{kind} ({MEANINGS[kind]}; required for {why})"
    if name is None:
        yield row
    elif name not in runs:
        yield f"{row} is {name!r}, which has no record"
    elif wrong := fault(kind, name, runs):
        yield f"{row} is {name!r}, which {wrong}"


def fault(kind: str, name: str, runs: Runs) -> str:
    """How the records contradict the kind of baseline; empty if they don't."""
    own, spent, most = list(runs[name].values()), _gflops(runs[name]), max(map(_gflops, runs.values()))
    budget = _other_budget(name, runs) if kind == "steps" else ""
    faults = (
        (kind in _SILENT and any(map(bytes_per_turn, own)), "communicates"),
        (kind == "majority" and spent > 0, "trains"),
        (bool(budget), budget),
        (kind == "centralized" and any(one["population"]["trained"] != 1 for one in own), "trains more than one model"),
        (
            kind == "tuned" and not all(map(_personalizes, own)),
            "does not communicate, or has one model for all clients",
        ),
        (
            kind == "flops" and spent < _MIN_FLOPS * most,
            f"trains with {spent:.4g} GFLOPs; the most expensive entry takes {most:.4g}",
        ),
    )
    return next((fault for wrong, fault in faults if wrong), "")


def _other_budget(name: str, runs: Runs) -> str:
    """The budget of the baseline for equal steps, if no entry that communicates has the same; empty otherwise."""
    budgets = {_budget(record) for own in runs.values() for record in own.values() if bytes_per_turn(record)}
    odd = next((budget for record in runs[name].values() if (budget := _budget(record)) not in budgets), "")
    return f"trains {odd}; no entry that communicates has that budget" if odd and budgets else ""


def _budget(record: Record) -> str:
    spec = record["spec"]
    turn = f"{spec['steps']} steps" if spec["steps"] else f"{spec['epochs']} epochs"
    return f"{spec['rounds']} rounds of {turn} of {spec['batch_size']} images"


def _gflops(own: Mapping[int, Record]) -> float:
    return defined_mean([gflops(record) or 0.0 for record in own.values()])[0]


def least_budget(name: str, runs: Runs) -> float | None:
    """By how much an entry must train longer to have the FLOPs of the most expensive one, nearly; None if unknown."""
    own = _gflops(runs[name])
    return _MIN_FLOPS * max(map(_gflops, runs.values())) / own if own else None


def sends(own: Mapping[int, Record]) -> bool:
    """Whether an entry communicates."""
    return _any(own, lambda record: bytes_per_turn(record) > 0)


def scores_two_models(own: Mapping[int, Record]) -> bool:
    """Whether an entry communicates, and evaluates further models besides the headline one."""
    return _any(own, lambda record: bytes_per_turn(record) > 0 and bool(record["test"]["roles"]))


def _any(own: Mapping[int, Record], test: Callable[[Record], bool]) -> bool:
    return any(map(test, own.values()))


def _personalizes(record: Record) -> bool:
    return bytes_per_turn(record) > 0 and len(set(scored(record).predictors[1]) - {None}) > 1
