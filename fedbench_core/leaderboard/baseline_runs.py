"""Baselines among runs outside a suite: which entries are baselines, and the commands for those that are missing."""

import math
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedbench_core.leaderboard.baselines import (
    MEANINGS,
    compulsory,
    fault,
    least_budget,
    scores_two_models,
    sends,
)
from fedbench_core.leaderboard.misfits import Record, Runs
from fedbench_core.records.record import RECORD
from fedbench_core.registry import registry
from fedbench_core.suites.adhoc import baseline_of
from fedbench_core.suites.controls import Controls, EntryControl
from fedbench_core.suites.suite import Suite

_OUT = "runs"
"""Where `fedbench run` records without --out."""
_SHARE = "share"
"""The option of local updates that, if it is false, train the same networks and send nothing."""


def named(runs: Runs) -> dict[str, Any]:
    """The entries of a case that are baselines by their kind, as `baselines` of a suite: the first one of each."""
    kinds = [kind for kind in MEANINGS if kind not in ("unshared", "control")]
    found = {kind: name for kind in kinds for name in _of_kind(kind, runs)[::-1] if not fault(kind, name, runs)}
    of_two = [name for name, own in runs.items() if scores_two_models(own) and not _declares_control(_method(own))]
    pairs = {name: _unshared(name, runs, found.get("steps")) for name in of_two}
    return {**found, "controls": {name: other for name, other in pairs.items() if other is not None}}


def commands(suite: Suite, runs: Runs, paths: Mapping[str, Path], controls: Controls) -> tuple[str, ...]:
    """The commands that compute the missing baselines of a case. paths: where each record is, by its digest.

    What equal FLOPs are is known once local training has run; without it, the command for them is left out.
    """
    wanted = [(kind, of) for kind, name, of, _ in compulsory(suite, runs, controls) if name is None]
    seeds = ",".join(map(str, sorted({seed for own in runs.values() for seed in own})))
    found = [
        shlex.join(["fedbench", "run", method, *_config(paths[record["digest"]]), "--seed", seeds, *changes])
        for kind, of in wanted
        for method, record, changes in _changed(kind, of, runs, controls.get(of))
    ]
    return tuple(dict.fromkeys(found))


def _changed(kind: str, of: str, runs: Runs, control: EntryControl | None) -> Iterator[tuple[str, Record, list[str]]]:
    """The method of a baseline, the record whose settings it has, and the flags that change them; none if unknown.

    of: the entry that the baseline is for, "" for all; control: its control.
    """
    some = next(filter(sends, runs.values()), next(iter(runs.values())))
    if control is not None and control.declared is not None:
        options = [f"{name}={str(value).lower()}" for name, value in control.declared.options.items()]
        yield control.declared.method, _first(runs[of]), [flag for option in options for flag in ("--set", option)]
    elif kind == "unshared":
        if _can_be_silent(_method(runs[of])):
            yield _method(runs[of]), _first(runs[of]), ["--set", f"local_update.{_SHARE}=false"]
    elif kind == "flops":
        for name in _of_kind(kind, runs)[:1]:
            if (factor := least_budget(name, runs)) is not None:
                yield _method(runs[name]), _first(runs[name]), _budget(_first(runs[name]), factor)
    else:
        for method in [name for name in registry().names("method") if baseline_of(name) == kind][:1]:
            yield method, _first(some), _one_model(kind, _first(some))


def _one_model(kind: str, record: Record) -> list[str]:
    """The flags without which a baseline with one model for all clients could not run, or had fewer steps."""
    if kind not in ("centralized", "tuned"):
        return []
    first, *others = record["spec"]["backbones"]
    steps = kind == "centralized" and record["spec"]["steps"]
    return [
        *(["--backbones", first] if others else []),
        *(_budget(record, record["population"]["clients"]) if steps else []),
    ]


def _budget(record: Record, factor: float) -> list[str]:
    """The flags of a local budget that is that of a run times a factor, rounded up."""
    unit = "steps" if record["spec"]["steps"] else "epochs"
    return [f"--{unit}", str(math.ceil(factor * record["spec"][unit]))]


def _config(path: Path) -> list[str]:
    """The flags for the settings of a recorded run, and for the folder in which it is recorded."""
    if path.suffix == ".json":
        return ["--config", str(path)]
    out = [] if str(path.parent) == _OUT else ["--out", str(path.parent)]
    return ["--config", str(path / RECORD), *out]


def _of_kind(kind: str, runs: Runs) -> list[str]:
    """The entries whose method is that of a baseline."""
    return [name for name, own in runs.items() if baseline_of(_method(own)) == ("steps" if kind == "flops" else kind)]


def _unshared(name: str, runs: Runs, alone: str | None) -> str | None:
    """The entry of the same method that sends nothing; local training if the method has no such option."""
    method = _method(runs[name])
    silent = (other for other, own in runs.items() if _method(own) == method and not sends(own))
    return next(silent, None if _can_be_silent(method) else alone)


def _declares_control(method: str) -> bool:
    return method in registry().names("method") and registry().method(method).control is not None


def _can_be_silent(method: str) -> bool:
    known = method in registry().names("method")
    return known and _SHARE in {
        one.name for one in registry().options("local_update", registry().method(method).local_update)
    }


def _method(own: Mapping[int, Record]) -> str:
    return str(_first(own)["spec"]["method"])


def _first(own: Mapping[int, Record]) -> Record:
    return next(iter(own.values()))
