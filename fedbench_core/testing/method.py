"""The contract of methods."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import pytest
import torch

from fedbench_core.api import SERVER, Method, Payload, RequestError
from fedbench_core.federation.assembly import assemble, resolve
from fedbench_core.federation.calls import PEER_WAY, SERVER_WAY, PredictDone, TurnCall, TurnDone
from fedbench_core.federation.controls import control_of
from fedbench_core.federation.participation import participating
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.spec import RunSpec
from fedbench_core.parts.compressors import Dense
from fedbench_core.records.record import comparable
from fedbench_core.registry import registry
from fedbench_core.runner import Finished, How, run
from fedbench_core.testing.contract import same
from fedbench_core.testing.small import (
    BACKBONE,
    OTHER_BACKBONE,
    Observed,
    SmallFederation,
    cache_of,
    partition_of,
    run_reversed,
    small_spec,
)

TABLES = ("clients.csv", "messages.csv")
CHANCE = 1 / 8
"""The balanced accuracy of a guess among phantom's eight classes."""
MARGIN = 0.075
"""Three standard deviations of a guess on 160 test images."""
ABSENCE = {"fraction": 0.67, "dropout": 0.4}
"""With the right seed some client never takes part, and in some round nobody does."""
TOLERANCE = 1e-3
"""Relative difference of two aggregates that may come from rounding, also where a server trains."""
EMPTY = Payload({}).to_bytes()
Go = Callable[..., Finished]
Way = tuple[int, int, int, int]
"""Round, phase, sender, receiver."""


@dataclass(frozen=True)
class ReversedRun:
    """The run that `go()` computes, with the turns of each phase in reverse order."""

    run: ResolvedRun
    partition: Partition
    folder: Path
    observed: Sequence[Observed]
    test: Mapping[str, Any]

    @property
    def turns(self) -> Iterator[tuple[TurnCall, TurnDone, bytes | None]]:
        """Every turn, its outcome, and what was received for it."""
        for one in self.observed:
            if isinstance(one.call, TurnCall) and isinstance(one.done, TurnDone):
                yield one.call, one.done, one.received

    @property
    def last_downloads(self) -> set[int]:
        """The sizes of what was published at the end and read by models that are scored on test images."""
        scored = [one for one in self.observed if isinstance(one.done, PredictDone) and one.done.call.split == "test"]
        made = [one for one in scored if isinstance(one.done, PredictDone) and one.done.made_from_received]
        return {len(one.received) for one in made if one.received is not None}


class MethodContract:
    """A method learns, gives the same bits however it is computed, counts its bytes, and is what it declares.

    name: as registered; options: as given to `--set`; settings: the flags of `fedbench run`, such as {"lr": 0.01}.
    """

    name: ClassVar[str] = ""
    options: ClassVar[Mapping[str, object]] = MappingProxyType({})
    settings: ClassVar[Mapping[str, object]] = MappingProxyType({})

    @pytest.fixture
    def go(self, tmp_path_factory: pytest.TempPathFactory) -> Go:
        """Run a small spec of the method; a recorded run is only read, except if `fresh`."""
        shared = tmp_path_factory.getbasetemp() / f"runs-{type(self).__name__}"
        how = How(out=shared, cache=cache_of(tmp_path_factory), executor="serial")

        def start(*, fresh: bool = False, workers: int = 0, **settings: Any) -> Finished:
            out = tmp_path_factory.mktemp("runs") if fresh else shared
            executor: Literal["serial", "processes"] = "processes" if workers else "serial"
            return run(self.spec(**settings), replace(how, out=out, executor=executor, workers=workers or None))

        return start

    @pytest.fixture
    def reversed_run(self, tmp_path_factory: pytest.TempPathFactory) -> ReversedRun:
        """The run of `go()`, with the turns of each phase computed in reverse order."""
        known = _REVERSED.setdefault(type(self), [])
        if not known:
            resolved, folder = resolve(self.spec()), tmp_path_factory.mktemp("reversed") / "run"
            partition = partition_of(resolved.spec, cache_of(tmp_path_factory))
            known.append(ReversedRun(resolved, partition, folder, *run_reversed(resolved, partition, folder)))
        return known[0]

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

    def test_control_is_another_run(self) -> None:
        """The control that the method declares, if it is installed, can be run with the settings of the method."""
        control = self.method.control
        if control is None or control.method not in registry().names("method"):
            pytest.skip(f"{self.name} declares no control, or its method is not installed")
        found = control_of(assemble(self.spec()))
        assert found is not None, f"{self.name} has the options of its control ({control}) by default"
        resolve(found)

    def test_learns(self, go: Go) -> None:
        """A few rounds make the headline model better than chance, if the method says that it learns.

        Methods that train their parts in turn need more steps: where anything changed, there are four times as many.
        """
        score = _learned(go, rounds=4, steps=20)
        if not self.method.learns:
            assert score <= CHANCE + MARGIN, f"balanced accuracy {score:.3f}, but the method declares learns=False"
            return
        if score <= CHANCE + MARGIN and score != _learned(go, rounds=1, steps=1):
            score = _learned(go, rounds=4, steps=80)
        assert score > CHANCE + MARGIN, (
            f"balanced accuracy {score:.3f} after four rounds, where guessing gives {CHANCE:.3f}: does predictors "
            "return what was trained, and does training start from what was received? (`settings` can change --lr)"
        )

    @pytest.mark.slow
    def test_workers_are_irrelevant(self, go: Go) -> None:
        """Two worker processes give the same record as one process, to the bit."""
        _assert_same(go(), go(fresh=True, workers=2), "two worker processes")

    def test_order_of_clients_is_irrelevant(self, go: Go, reversed_run: ReversedRun) -> None:
        """Turns computed in reverse order give the same bits, messages in reverse order nearly the same result."""
        finished = go()
        for name in TABLES:
            assert same((reversed_run.folder / name).read_bytes(), (finished.folder / name).read_bytes()), (
                f"{name} changes when turns are computed in reverse order: {_CAUSE}"
            )
        test = json.loads(json.dumps(reversed_run.test))
        assert same({**test, "round": finished.record["test"]["round"]}, finished.record["test"]), (
            f"scores change when turns are computed in reverse order: {_CAUSE}"
        )
        uncompressed = replace(reversed_run.run, downlink=Dense())
        _assert_order_of_messages_is_irrelevant(SmallFederation.of(uncompressed, reversed_run.partition))

    def test_published_payload_changes(self, reversed_run: ReversedRun) -> None:
        """What clients receive after the second round differs from what they received after the first."""
        received = {(call.client, call.round, call.phase): blob for call, _, blob in reversed_run.turns if blob}
        pairs = [
            (blob, received.get((client, 2, phase)))
            for (client, number, phase), blob in received.items()
            if number == 1
        ]
        if not pairs:
            pytest.skip("nothing travels: no client received anything in the second round")
        small = SmallFederation.of(reversed_run.run, reversed_run.partition)
        changed = [second is None or _differ(small, first, second) for first, second in pairs]
        assert any(changed), (
            "after the second round clients receive what they received after the first: is the result of the "
            "aggregation published, and does training start from what was received?"
        )

    def test_record_counts_its_messages(self, go: Go) -> None:
        """The record has the sum of `messages.csv`."""
        finished = go()
        costs, total = finished.record["costs"], sum(map(sum, _recorded(finished.folder).values()))
        assert costs["bytes_up"] + costs["bytes_down"] + costs["bytes_peer"] == total, "record and messages.csv differ"

    def test_recorded_bytes_are_the_blobs(self, reversed_run: ReversedRun) -> None:
        """`messages.csv` counts the lengths of all that was sent and received, and nothing else."""
        recorded = _recorded(reversed_run.folder)
        public = reversed_run.partition.public if self.method.uses_public else None
        for call, done, received in reversed_run.turns:
            _remove_downloads(recorded, call, received, None if public is None or call.turns else public.nbytes)
            _remove_uploads(recorded, call, done)
        _remove_last_downloads(recorded, reversed_run)
        assert not recorded, (
            f"messages.csv counts what was never sent (round, phase, sender, receiver): {dict(recorded)}"
        )

    def test_mixed_backbones_exactly_where_declared(self, go: Go) -> None:
        """Two kinds of backbone work, or are refused with the methods that can."""
        mixed = {"backbones": (BACKBONE, OTHER_BACKBONE), "rounds": 2}
        if self.method.mixed_backbones:
            assert go(**mixed).record["population"]["backbones"] == [BACKBONE, OTHER_BACKBONE, BACKBONE]
            return
        with pytest.raises(RequestError, match=f"{self.name} needs one backbone.*a method for mixed backbones"):
            resolve(self.spec(**mixed))

    def test_absence_exactly_where_declared(self, go: Go) -> None:
        """With clients or whole rounds missing all clients are still evaluated; or partial participation is refused."""
        spec = self.spec(rounds=4, seed=self._seed(), **ABSENCE)
        if not self.method.partial_participation:
            with pytest.raises(RequestError, match=f"{self.name} needs every client in every round"):
                resolve(spec)
            return
        record = go(rounds=4, seed=spec.seed, **ABSENCE).record
        assert record["rounds_skipped"] == [round_ for round_ in range(4) if not self._participating(spec, round_)]
        assert len(record["test"]["matrix"]["predictor_of_client"]) == spec.clients

    def test_one_client_alone(self, go: Go) -> None:
        """A federation of one client runs."""
        assert go(clients=1, rounds=2).record["population"]["trained"] == 1

    def _seed(self) -> int:
        """A seed under which, of four rounds, one has nobody, and some client (if there are several) never comes."""
        trained = 1 if self.method.data == "centralized" else self.spec().clients
        for seed in range(1000):
            spec = self.spec(rounds=4, seed=seed, **ABSENCE)
            rounds = [self._participating(spec, round_) for round_ in range(4)]
            came: set[int] = set().union(*rounds)
            if came and [] in rounds and len(came) < max(2, trained):
                return seed
        raise AssertionError(f"no seed below 1000 leaves anybody out with {ABSENCE}")

    def _participating(self, spec: RunSpec, round_: int) -> list[int]:
        return participating(spec, 1 if self.method.data == "centralized" else spec.clients, round_)


_REVERSED: "WeakKeyDictionary[type, list[ReversedRun]]" = WeakKeyDictionary()
"""By suite: one run serves several cases."""
_CAUSE = "a part keeps something, or something depends on the order in which clients are computed"


def _recorded(folder: Path) -> defaultdict[Way, list[int]]:
    """The bytes of each row of `messages.csv`."""
    recorded: defaultdict[Way, list[int]] = defaultdict(list)
    for row in csv.DictReader((folder / "messages.csv").read_text().splitlines()):
        way = (int(row["round"]), int(row["phase"]), int(row["sender"]), int(row["receiver"]))
        recorded[way].append(int(row["bytes"]))
    return recorded


def _learned(go: Go, **budget: int) -> float:
    """The balanced accuracy of the headline model of two clients."""
    sizes = {"dataset.train": 320, "dataset.test": 160}
    metrics = go(clients=2, batch_size=16, set=sizes, **budget).record["test"]["metrics"]
    return float(metrics["balanced_accuracy"])


def _assert_same(first: Finished, second: Finished, what: str) -> None:
    for name in TABLES:
        assert same((first.folder / name).read_bytes(), (second.folder / name).read_bytes()), (
            f"{name} changes with {what}: draw from ctx.rng(...), keep state in client.models and client.memory"
        )
    one, other = comparable(first.record), comparable(second.record)
    differing = [key for key in one if one[key] != other[key]]
    assert not differing, f"{', '.join(differing)} of record.json differ with {what}"


def _assert_order_of_messages_is_irrelevant(small: SmallFederation) -> None:
    messages = [message for client in range(small.run.trained) for message in small.messages(client)]
    if len(messages) < len("ab") or small.run.aggregator.takes == "one":
        return
    blobs = small.aggregated(messages), small.aggregated(messages[::-1])
    assert (blobs[0] is None) == (blobs[1] is None), "whether anything is published depends on the order of clients"
    first, second = (small.decoded(blob or EMPTY) for blob in blobs)
    assert first.tensors.keys() == second.tensors.keys(), "other tensors when the messages come in another order"
    for name, tensor in first.tensors.items():
        scale = tensor.double().abs().amax().item() if tensor.numel() else 0.0
        off = (tensor.double() - second.tensors[name].double()).abs().amax().item() if tensor.numel() else 0.0
        assert off <= TOLERANCE * scale, (
            f"{name!r} differs by {off:g} when the messages come in another order: is the result that of one client?"
        )


def _differ(small: SmallFederation, first: bytes, second: bytes) -> bool:
    """Whether the tensors of two received payloads differ."""
    one, other = (small.decoded(blob).tensors for blob in (first, second))
    return one.keys() != other.keys() or any(not torch.equal(one[name], other[name]) for name in one)


def _remove_downloads(
    recorded: dict[Way, list[int]], call: TurnCall, received: bytes | None, public: int | None
) -> None:
    """Take what a client received from the server out of `recorded`; fail where that is missing or differs."""
    encoded = call.received is not None and call.received.encoded and received is not None
    expected = [len(received)] if encoded and received is not None else []
    expected += [] if public is None else [public]
    found = recorded.pop((call.round, call.phase, SERVER, call.client), [])
    assert sorted(found) == sorted(expected), (
        f"{call.label}: messages.csv counts {found} bytes for the {expected} that it received"
    )


def _remove_last_downloads(recorded: dict[Way, list[int]], reversed_run: ReversedRun) -> None:
    """Take downloads after the last round out of `recorded`, if they have the size of what scored models read."""
    sizes = reversed_run.last_downloads
    for way in [way for way in recorded if way[0] == reversed_run.run.spec.rounds and {*recorded[way]} <= sizes]:
        del recorded[way]


def _remove_uploads(recorded: dict[Way, list[int]], call: TurnCall, done: TurnDone) -> None:
    """Take what a client sent to other nodes out of `recorded`; fail where that is missing or differs."""
    mine = [way for way in recorded if way[:3] == (call.round, call.phase, call.client)]
    sent = {way for way in (SERVER_WAY, PEER_WAY) if way in done.encoded}
    listed = {SERVER_WAY if way[3] == SERVER else PEER_WAY for way in mine}
    assert listed == sent, f"{call.label}: messages.csv has messages to {listed}, the client sent to {sent}"
    for way in mine:
        size = len(done.encoded[SERVER_WAY if way[3] == SERVER else PEER_WAY].blob)
        found = recorded.pop(way)
        assert found == [size], f"{call.label}: messages.csv counts {found} bytes for the {size} that were sent"
