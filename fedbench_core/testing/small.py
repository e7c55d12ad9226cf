"""A run that is small enough for a suite: few generated images, a small network, a few batches per turn."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from fedbench_core import RunSpec
from fedbench_core.api import (
    SERVER,
    SPLITS,
    Client,
    DataRequest,
    Examples,
    LocalUpdate,
    Message,
    Node,
    Payload,
    RoundContext,
    Task,
    Update,
)
from fedbench_core.federation import files
from fedbench_core.federation.aggregation import Aggregation, Published, channels, load_state
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.calls import AggregateCall, Call, Done
from fedbench_core.federation.engine import Engine
from fedbench_core.federation.executors import Tell
from fedbench_core.federation.networks import Networks
from fedbench_core.federation.node_state import NodeState
from fedbench_core.federation.partition import Partition, make_partition
from fedbench_core.federation.partition import load as load_splits
from fedbench_core.federation.plans import planned
from fedbench_core.federation.progress import Progress
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.store import Store
from fedbench_core.federation.torch_settings import torch_set_up
from fedbench_core.federation.wire import decode, encode
from fedbench_core.federation.worker import Worker, base_context, networks_of
from fedbench_core.registry import registry

BACKBONE, OTHER_BACKBONE = "test_resnet", "test_efficientnet"
PUBLIC_IMAGES = "0.25"
"""The fraction of the training images that is public, for methods that use public images."""
SETTINGS: Mapping[str, Any] = {
    "backbones": (BACKBONE,),
    "dataset": "phantom",
    "image_size": 28,
    "clients": 3,
    "rounds": 3,
    "steps": 2,
    "batch_size": 8,
    "optimizer": "sgd",
    "schedule": "constant",
    "partitioner": "iid",
    "evaluate_every": 0,
}
# The stem for large images shrinks small ones to a quarter at once: networks run sixteen times faster.
OPTIONS: Mapping[str, Any] = {"dataset.train": 96, "dataset.val": 64, "dataset.test": 64, "backbone.stem": "timm"}


def small_spec(method: str, options: Mapping[str, Any], **settings: Any) -> RunSpec:
    """The spec of a small run, with public images if the method uses them.

    options: as given to `--set`; settings: as the flags.
    """
    public = {"public": PUBLIC_IMAGES} if registry().method(method).uses_public else {}
    return RunSpec.of({**SETTINGS, **public, **settings, "method": method, "set": {**OPTIONS, **options}})


def cache_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of generated images for all suites of a test run."""
    return tmp_path_factory.getbasetemp() / "fedbench"


def partition_of(spec: RunSpec, folder: Path) -> Partition:
    """The partition of a spec; `folder` is the cache from which its images are mapped."""
    return _partition(spec.model_dump_json(), folder)


@cache
def _partition(spec: str, folder: Path) -> Partition:
    run = resolve(RunSpec.model_validate_json(spec))
    return make_partition(run, load_splits(run, DataRequest(folder, image_size=run.spec.image_size)))


def with_other_images(partition: Partition, client: int, folder: Path) -> Partition:
    """The same partition of other images: all except the client's training and validation images are changed.

    They are inverted and get other labels; files in `folder`, as those of a dataset in the cache.
    """
    splits: dict[str, Any] = {}
    for split in SPLITS:
        examples: Examples = getattr(partition.splits, split)
        others = np.ones(len(examples.images), dtype=bool)
        if split != "test":
            others[partition.indices[split][client]] = False
        images, labels = np.array(examples.images), np.array(examples.labels)
        images[others] = 255 - images[others]
        labels[others] = labels.max() - labels[others]
        path = folder / f"{split}_images.npy"
        np.save(path, images)
        np.save(folder / f"{split}_labels.npy", labels)
        splits[split] = replace(examples, images=np.load(path, mmap_mode="r"), labels=labels)
    return replace(partition, splits=replace(partition.splits, **splits))


def several_labels(examples: Examples, task: Task) -> Examples:
    """The same images with multi-labels: label c says whether the class is c or less."""
    labels = examples.labels[:, :1] <= np.arange(task.outputs)
    return replace(examples, labels=labels.astype(np.int64))


@dataclass
class SmallFederation:
    """Clients that take the turns which the caller asks for, with `part` as local update and the run's other parts."""

    part: LocalUpdate
    run: ResolvedRun
    partition: Partition
    networks: Networks
    _received: dict[int, bytes | None] = field(default_factory=dict)

    @classmethod
    def of(cls, run: ResolvedRun, partition: Partition) -> "SmallFederation":
        """A federation with networks of its own."""
        return cls(run.local_update, run, partition, networks_of(run, partition))

    def context(self, round_: int = 0, node: Node = 0, *, receives: bool = False, **changes: Any) -> RoundContext:
        """The first phase of a round as a node sees it, or the first in which client 0 receives something."""
        ctx = base_context(self.run, self.partition, self.networks)
        phases = planned(self.run.topology, range(self.run.trained), self.run.trained, ctx)
        turns = [(n, phase.kind, turn) for n, phase in enumerate(phases) for turn in phase.turns if turn.client == 0]
        number, kind, _ = next((one for one in turns if receives and one[2].receives_from is not None), turns[0])
        return replace(ctx, round=round_, phase=number, kind=kind, node=node, **changes)

    def client(self, number: int = 0, images: int | None = None) -> Client:
        """A client that has been set up and never trained. images: it has only its first ones."""
        client = self._new(number)
        if images is not None:
            client.train = client.train.pick(np.arange(images))
        self.part.setup(client, self.context(node=number))
        return client

    def train(self, client: Client, received: Payload | None = None, round_: int = 0, **changes: Any) -> Update:
        """A client's turn. changes: of the context."""
        ctx = self.context(round_, client.id, receives=received is not None, **changes)
        client.turns, client.last_round = round_, round_ - 1 if round_ else None  # it took part in all rounds before
        return self.part.train(client, received, ctx)

    def predictors(self, client: Client, received: Payload | None = None, round_: int = 0) -> dict[str, nn.Module]:
        """The client's own models and those in common, by role."""
        ctx = self.context(round_, client.id)
        own = self.part.predictors(client, received, ctx)
        common = self.part.global_predictors(received, client.backbone, ctx)
        for nets in (own, common):
            assert isinstance(nets, Mapping), f"predictors returned {type(nets).__name__}; expected models by role"
        both = own.keys() & common.keys()
        assert not both, f"predictors and global_predictors both return {', '.join(sorted(both))}: use different roles"
        return {**own, **common}

    def received(self, round_: int = 0) -> Payload | None:
        """What client 0 receives after the first turns of others; None if they send nothing."""
        if round_ not in self._received:
            senders = (1, 2) if self.run.aggregator.takes == "many" else (1,)
            messages = [message for number in senders for message in self.messages(number, round_)]
            self._received[round_] = self.aggregated(messages, round_) if messages else None
        blob = self._received[round_]
        return None if blob is None else self.decoded(blob)

    def decoded(self, blob: bytes) -> Payload:
        """What client 0 receives, decoded."""
        return decode(self.run.downlink, blob) if self._source == SERVER else Payload.from_bytes(blob)

    def messages(self, number: int, round_: int = 0) -> Sequence[Message]:
        """The message of a client's first turn, as it arrives; none if it sends nothing."""
        update = self.train(self.client(number), None, round_)
        if update.payload is None:
            return []
        sent = encode(self.run.compressor, update.payload, self.context(round_, number), {})
        return [Message(number, decode(self.run.compressor, sent.blob), update.num_examples)]

    def aggregated(self, messages: Iterable[Message], round_: int = 0) -> bytes | None:
        """What client 0 receives of these messages, encoded; None if nothing is published for it."""
        networks = self.networks if self.run.aggregator.trains else None
        ctx = replace(
            self.context(round_, self._source), builder=base_context(self.run, self.partition, networks).builder
        )
        nothing = Published(self.run, {}, files)
        aggregation = Aggregation(self.run, None, nothing, ctx, networks)
        for message in messages:
            aggregation.add(message)
        encoded, state = aggregation.finish()
        [channel] = channels(self.run, load_state(self.run, state, nothing, ctx, None), ctx, [0])
        return bytes(encoded[channel].blob) if channel in encoded else None

    @property
    def _source(self) -> Node:
        return self.run.topology.receives_from(0)

    def saved(self, client: Client) -> bytes:
        """All that is kept of a client between turns."""
        models = {role: self.networks.weights(net) for role, net in client.models.items()}
        modules = {role: self.networks.weights(net) for role, net in client.modules.items()}
        return NodeState(models, modules, client.memory).to_bytes()

    def loaded(self, number: int, state: bytes) -> Client:
        """A client as `saved` stored it."""
        kept, client = NodeState.from_bytes(state), self._new(number)
        client.models = self.networks.load_backbones(kept.models)
        client.modules = self.networks.load_modules(kept.modules)
        client.memory = kept.memory
        return client

    def _new(self, number: int) -> Client:
        train, val = (self.partition.examples(split, number) for split in ("train", "val"))
        return Client(number, self.run.backbone(number), train, val)


@dataclass(frozen=True)
class Observed:
    """A call, its outcome, and the blob that was received for it."""

    call: Call
    done: Done
    received: bytes | None


class Reversed:
    """An executor that computes the calls of a phase in reverse order and keeps what it sees."""

    workers = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.tell: Tell = lambda _calls: None
        self.observed: list[Observed] = []

    def run(self, calls: Iterable[Call]) -> Iterator[Done]:
        """The outcomes, in the order of the calls."""
        observed = [self._do(call) for call in reversed(list(calls))][::-1]
        self.observed += observed
        yield from (one.done for one in observed)

    def close(self) -> None:
        """Nothing to close."""

    def _do(self, call: Call) -> Observed:
        stored = None if isinstance(call, AggregateCall) else call.received
        received = None if stored is None else stored.file.path.read_bytes()
        return Observed(call, self._worker.do(call), received)


def run_reversed(run: ResolvedRun, partition: Partition, folder: Path) -> tuple[list[Observed], dict[str, Any]]:
    """A run whose turns are computed in reverse order: what was observed, and the test evaluation."""
    folder.mkdir()
    executor = Reversed(Worker(run, partition))
    engine = Engine(run, partition, executor, Store(folder / "state"), folder, Progress(), {})
    with torch_set_up(run.spec):
        return executor.observed, engine.run(lambda _event: None)
