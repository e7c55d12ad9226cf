"""What every method keeps to."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import pytest

from fedbench_core.api import SERVER, Method, RequestError
from fedbench_core.federation.calls import TurnCall, TurnDone
from fedbench_core.federation.participation import present
from fedbench_core.federation.resolved import resolve
from fedbench_core.federation.spec import RunSpec
from fedbench_core.records.record import comparable
from fedbench_core.registry import registry
from fedbench_core.runner import Finished, How, run
from fedbench_core.testing.contract import same
from fedbench_core.testing.small import BACKBONE, Seen, cache_of, federate, shares_of, small_spec

OTHER_BACKBONE = "test_efficientnet"
TABLES = ("clients.csv", "messages.csv")
CHANCE = 1 / 8
"""The balanced accuracy of a guess among phantom's eight classes."""
MARGIN = 0.075
"""Three standard deviations of a guess on 160 test images."""
Go = Callable[..., Finished]
Again = tuple[Path, list[Seen], dict[str, Any]]


class MethodContract:
    """A method learns, repeats itself to the bit however it is computed, counts its bytes, and keeps its word.

    name: as registered; options: as after `--set`; settings: as the flags of `fedbench run`, such as {"lr": 0.01}.
    """

    name: ClassVar[str] = ""
    options: ClassVar[Mapping[str, object]] = MappingProxyType({})
    settings: ClassVar[Mapping[str, object]] = MappingProxyType({})

    @pytest.fixture
    def go(self, tmp_path_factory: pytest.TempPathFactory) -> Go:
        """Run a small spec of the method; a run that is recorded is found again, unless it is to be `fresh`."""
        shared = tmp_path_factory.getbasetemp() / f"runs-{type(self).__name__}"
        how = How(out=shared, cache=cache_of(tmp_path_factory), executor="serial")

        def start(*, fresh: bool = False, workers: int = 0, **settings: Any) -> Finished:
            out = tmp_path_factory.mktemp("runs") if fresh else shared
            executor: Literal["serial", "processes"] = "processes" if workers else "serial"
            return run(self.spec(**settings), replace(how, out=out, executor=executor, workers=workers or None))

        return start

    @pytest.fixture
    def backwards(self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Again:
        """The run that `go()` gives, but the turns of each step are computed backwards, under observation."""
        setting = resolve(self.spec())
        seen, test = federate(setting, shares_of(setting.spec, cache_of(tmp_path_factory)), tmp_path / "run")
        return tmp_path / "run", seen, test

    @property
    def method(self) -> Method:
        """The method under test, from its registered name."""
        if not self.name:
            raise TypeError(f'{type(self).__name__} needs the name of a registered method: name = "..."')
        return registry().method(self.name)

    def spec(self, **settings: Any) -> RunSpec:
        """A small spec of the method."""
        options = {**self.options, **settings.pop("set", {})}
        return small_spec(self.name, options, **{**settings, **self.settings})

    def test_describes_itself(self) -> None:
        """A summary says what it does, and a reconstruction has its paper."""
        assert self.method.summary, f"{self.name} has no summary: say in one sentence what it does"
        assert self.method.fidelity == "full" or self.method.paper, "a reconstruction of what? Name the paper"

    def test_learns(self, go: Go) -> None:
        """Five rounds on drawn cells make the headline model better than chance."""
        sizes = {"dataset.train": 320, "dataset.test": 160}
        learned = go(clients=2, rounds=5, steps=10, batch_size=32, lr=0.05, set=sizes)
        score = learned.record["test"]["metrics"]["balanced_accuracy"]
        assert score > CHANCE + MARGIN, (
            f"balanced accuracy {score:.3f} after five rounds, where guessing gives {CHANCE:.3f}: is what was trained "
            "what predicts, and what was received what is trained? (settings can change the learning rate)"
        )

    def test_same_seed_same_record(self, go: Go) -> None:
        """The same spec twice gives the same scores, rows and bytes."""
        _assert_same(go(), go(fresh=True), "the same spec run again")

    def test_workers_are_irrelevant(self, go: Go) -> None:
        """Two worker processes give what one process gives, to the bit."""
        _assert_same(go(), go(fresh=True, workers=2), "two worker processes")

    def test_order_of_turns_is_irrelevant(self, go: Go, backwards: Again) -> None:
        """The turns of a step are simultaneous: computed backwards they give the same, to the bit."""
        finished, (folder, _, test) = go(), backwards
        for name in TABLES:
            assert same((folder / name).read_bytes(), (finished.folder / name).read_bytes()), (
                f"{name} is another when the turns of each step are computed backwards: {_CAUSE}"
            )
        scores = json.loads(json.dumps(test))
        assert same({**scores, "round": 2}, finished.record["test"]), (
            f"other scores when the turns of each step are computed backwards: {_CAUSE}"
        )

    def test_recorded_bytes_are_the_blobs(self, go: Go, backwards: Again) -> None:
        """`messages.csv` and the record count the lengths of what was sent and received, all of it and no more."""
        rows = list(csv.DictReader((go().folder / "messages.csv").read_text().splitlines()))
        recorded = {_way(row): int(row["bytes"]) for row in rows}
        costs = go().record["costs"]
        total = sum(recorded.values())
        assert costs["bytes_up"] + costs["bytes_down"] + costs["bytes_peer"] == total, "record and messages.csv differ"
        for seen in backwards[1]:
            if isinstance(seen.call, TurnCall) and isinstance(seen.done, TurnDone):
                _strike_out(recorded, seen.call, seen.done, seen.received_bytes)
        assert not recorded, f"messages.csv counts what never crossed (round, step, sender, receiver): {recorded}"

    def test_mixed_backbones_exactly_where_declared(self, go: Go) -> None:
        """Two kinds of backbone work, or are refused with the methods that can."""
        mixed = {"backbones": (BACKBONE, OTHER_BACKBONE), "rounds": 2}
        if self.method.mixed_backbones:
            assert go(**mixed).record["population"]["backbones"] == [BACKBONE, OTHER_BACKBONE, BACKBONE]
            return
        with pytest.raises(RequestError, match=f"{self.name} needs one backbone.*a method for mixed backbones"):
            resolve(self.spec(**mixed))

    @pytest.mark.parametrize("absence", [{"fraction": 0.34}, {"dropout": 0.5}], ids=["fraction", "dropout"])
    def test_absence_exactly_where_declared(self, go: Go, absence: dict[str, float]) -> None:
        """With clients or whole rounds missing everyone is still evaluated; or absence is refused."""
        spec = self.spec(rounds=4, seed=self._seed(absence), **absence)
        if not self.method.partial_participation:
            with pytest.raises(RequestError, match=f"{self.name} needs every client in every round"):
                resolve(spec)
            return
        record = go(rounds=4, seed=spec.seed, **absence).record
        assert record["rounds_skipped"] == [round_ for round_ in range(4) if not self._present(spec, round_)]
        assert len(record["test"]["matrix"]["predictor_of_client"]) == spec.clients

    def test_one_client_alone(self, go: Go) -> None:
        """A federation of one runs."""
        assert go(clients=1, rounds=2).record["population"]["trained"] == 1

    def _seed(self, absence: Mapping[str, float]) -> int:
        """A seed under which, of four rounds, one has nobody (dropout) or some client never comes (fraction)."""
        trained = 1 if self.method.data == "centralized" else self.spec().clients
        for seed in range(1000):
            spec = self.spec(rounds=4, seed=seed, **absence)
            rounds = [self._present(spec, round_) for round_ in range(4)]
            came: set[int] = set().union(*rounds)
            if came and ([] in rounds if "dropout" in absence else len(came) < max(2, trained)):
                return seed
        raise AssertionError(f"no seed below 1000 leaves anybody out with {absence}")

    def _present(self, spec: RunSpec, round_: int) -> list[int]:
        return present(spec, 1 if self.method.data == "centralized" else spec.clients, round_)


_CAUSE = "a part remembers, or something depends on the order in which clients are computed"


def _assert_same(first: Finished, second: Finished, what: str) -> None:
    for name in TABLES:
        assert same((first.folder / name).read_bytes(), (second.folder / name).read_bytes()), (
            f"{name} is another with {what}: draw from ctx.rng(...), keep state in client.models and client.memory"
        )
    one, other = comparable(first.record), comparable(second.record)
    differing = [key for key in one if one[key] != other[key]]
    assert not differing, f"{', '.join(differing)} of record.json differ with {what}"


def _way(row: Mapping[str, str]) -> tuple[int, int, int, int]:
    return int(row["round"]), int(row["step"]), int(row["sender"]), int(row["receiver"])


def _strike_out(recorded: dict[tuple[int, int, int, int], int], call: TurnCall, done: TurnDone, received: int) -> None:
    """Take the rows of one turn out of `recorded`; fails where one is missing or has another length."""
    moment = f"client {call.client}, round {call.round}, step {call.step}"
    if call.received is not None and call.received.encoded:
        row = recorded.pop((call.round, call.step, SERVER, call.client), None)
        assert row == received, f"{moment}: messages.csv counts {row} bytes for the {received} that it received"
    mine = [way for way in recorded if way[:3] == (call.round, call.step, call.client)]
    sent = None if done.sent is None else len(done.sent)
    assert bool(mine) == (sent is not None), f"{moment}: {len(mine)} rows in messages.csv for {sent} bytes sent"
    for way in mine:
        row = recorded.pop(way)
        assert row == sent, f"{moment}: messages.csv counts {row} bytes for the {sent} that were sent"
