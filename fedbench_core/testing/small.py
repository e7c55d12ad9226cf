"""A federation small enough for a suite: a few drawn images, a small network, a few batches per turn."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbench_core import RunSpec
from fedbench_core.api import (
    SPLITS,
    Client,
    DataRequest,
    Examples,
    LocalUpdate,
    Message,
    Payload,
    RoundContext,
    Task,
    Update,
)
from fedbench_core.federation.calls import Call, Done
from fedbench_core.federation.engine import Engine, Progress
from fedbench_core.federation.executors.serial import Serial
from fedbench_core.federation.lending import Lender, load, snapshot
from fedbench_core.federation.node_state import Kept
from fedbench_core.federation.partition import Partition, deal
from fedbench_core.federation.partition import load as load_splits
from fedbench_core.federation.resolved import ResolvedRun, resolve
from fedbench_core.federation.store import Store
from fedbench_core.federation.wire import decode, encode
from fedbench_core.federation.worker import Worker, context

BACKBONE = "test_resnet"
SETTINGS: Mapping[str, Any] = {
    "backbones": (BACKBONE,),
    "dataset": "phantom",
    "clients": 3,
    "rounds": 3,
    "steps": 2,
    "batch_size": 8,
    "partitioner": "iid",
    "evaluate_every": 0,
}
# The stem for large images makes small ones four times smaller at once: networks run sixteen times faster.
OPTIONS: Mapping[str, Any] = {"dataset.train": 96, "dataset.val": 64, "dataset.test": 64, "backbone.stem": "timm"}


def small_spec(method: str, options: Mapping[str, Any], **settings: Any) -> RunSpec:
    """A spec of a small run; `options` as after `--set`, `settings` as the flags."""
    return RunSpec.of({**SETTINGS, **settings, "method": method, "set": {**OPTIONS, **options}})


def cache_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of drawn images for all suites of a test run."""
    return tmp_path_factory.getbasetemp() / "fedbench"


def shares_of(spec: RunSpec, folder: Path) -> Partition:
    """The images of a spec, dealt out; `folder` is the cache that they are mapped from."""
    return _shares(spec.model_dump_json(), folder)


@cache
def _shares(spec: str, folder: Path) -> Partition:
    setting = resolve(RunSpec.model_validate_json(spec))
    return deal(setting, load_splits(setting, DataRequest(folder)))


def disguised(shares: Partition, client: int, folder: Path) -> Partition:
    """The same shares of other images: all but those that `client` trains and selects on are inverted and relabelled.

    They lie in `folder` as a dataset's lie in the cache.
    """
    splits: dict[str, Any] = {}
    for split in SPLITS:
        examples: Examples = getattr(shares.splits, split)
        others = np.ones(len(examples.images), dtype=bool)
        if split != "test":
            others[shares.indices[split][client]] = False
        images, labels = np.array(examples.images), np.array(examples.labels)
        images[others] = 255 - images[others]
        labels[others] = labels.max() - labels[others]
        path = folder / f"{split}_images.npy"
        np.save(path, images)
        np.save(folder / f"{split}_labels.npy", labels)
        splits[split] = replace(examples, images=np.load(path, mmap_mode="r"), labels=labels)
    return replace(shares, splits=replace(shares.splits, **splits))


def several_labels(examples: Examples, task: Task) -> Examples:
    """The same images; each label says whether the class is at most this one."""
    labels = examples.labels[:, :1] <= np.arange(task.outputs)
    return replace(examples, labels=labels.astype(np.int64))


@dataclass
class Scene:
    """Clients of a small federation on turns that the caller plans, with nothing but `part` and the real parts."""

    part: LocalUpdate
    setting: ResolvedRun
    shares: Partition
    lender: Lender
    said: dict[int, bytes | None] = field(default_factory=dict)
    """What lies at a client's home after a round, once it is known."""

    @classmethod
    def of(cls, setting: ResolvedRun, shares: Partition) -> "Scene":
        """A scene with a lender of its own."""
        lender = Lender(setting.architectures, shares.splits, setting.spec.seed, setting.spec.device)
        return cls(setting.local_update, setting, shares, lender)

    def context(self, round_: int = 0, **changes: Any) -> RoundContext:
        """The moment of a turn in a round."""
        return replace(context(self.setting, self.shares, round_, 0, self.lender), **changes)

    def client(self, number: int = 0, images: int | None = None) -> Client:
        """A client that has been set up and never trained; with its first `images` only, if that is given."""
        client = self._bare(number)
        if images is not None:
            client.train = client.train.pick(np.arange(images))
        self.part.setup(client, self.context())
        return client

    def received(self, round_: int = 0) -> Payload | None:
        """What lies at a client's home after other clients' first turns; None if they say nothing."""
        if round_ not in self.said:
            self.said[round_] = self._said(round_)
        blob = self.said[round_]
        return None if blob is None else decode(self.setting.downlink, blob)

    def _said(self, round_: int) -> bytes | None:
        senders = (1, 2) if self.setting.aggregator.takes == "many" else (1,)
        replies = [(number, self.part.train(self.client(number), None, self.context(round_))) for number in senders]
        messages = [message for number, reply in replies for message in self._arrived(number, reply, round_)]
        if not messages:
            return None
        merge = self.setting.aggregator.open(self.context(round_), {}, None)
        for message in messages:
            merge.add(message)
        return encode(self.setting.downlink, merge.close(), self.context(round_), {}).blob

    def wake(self, number: int, state: bytes) -> Client:
        """A client as `rest` left it."""
        kept, client = Kept.from_bytes(state), self._bare(number)
        for role, (backbone, weights) in kept.models.items():
            client.models[role] = self.lender.lend(backbone)
            load(client.models[role], weights)
        client.memory = kept.memory
        return client

    def _bare(self, number: int) -> Client:
        train, val = (self.shares.examples(split, number) for split in ("train", "val"))
        return Client(number, self.setting.backbone(number), train, val)

    def _arrived(self, number: int, reply: Update, round_: int) -> Iterator[Message]:
        if reply.payload is not None:
            sent = encode(self.setting.compressor, reply.payload, self.context(round_), {})
            yield Message(number, decode(self.setting.compressor, sent.blob), reply.weight)


def rest(client: Client) -> bytes:
    """All that is kept of a client between turns."""
    models = {role: (net.name, snapshot(net)) for role, net in client.models.items()}
    return Kept(models, client.memory, {}).to_bytes()


@dataclass(frozen=True)
class Seen:
    """A call, its outcome, and the length of what was received for it."""

    call: Call
    done: Done
    received_bytes: int


class Backwards(Serial):
    """An executor that computes the calls of a step backwards, and notes what it sees."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self.seen: list[Seen] = []

    def run(self, calls: Iterable[Call]) -> Iterator[Done]:
        """The outcomes, in the order of the calls."""
        seen = [self._do(call) for call in reversed(list(calls))]
        self.seen += reversed(seen)
        yield from (one.done for one in reversed(seen))

    def _do(self, call: Call) -> Seen:
        size = 0 if call.received is None else call.received.file.path.stat().st_size
        return Seen(call, self._worker.do(call), size)


def federate(setting: ResolvedRun, shares: Partition, folder: Path) -> tuple[list[Seen], dict[str, Any]]:
    """A run, computed backwards: what was seen of it, and the scores of the last round."""
    folder.mkdir()
    executor = Backwards(Worker(setting, shares))
    engine = Engine(setting, shares, Store(folder / "state"), folder, Progress(), {})
    test = engine.run(executor, lambda _event: None)
    return executor.seen, test
