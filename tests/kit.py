"""A plugin for tests: a dataset and backbones that cost milliseconds, and parts that each do one thing worth a test."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from fedbench_core.api import (
    SERVER,
    Backbone,
    Compressor,
    Examples,
    LocalUpdate,
    LogUniform,
    Method,
    Outputs,
    Payload,
    Phase,
    RunLog,
    Splits,
    Task,
    Topology,
    Tracker,
    Turn,
    Update,
    hookimpl,
    stream,
)
from fedbench_core.learning import fit, load_global


@dataclass(frozen=True)
class Spots:
    """Images of 8 x 8 pixels whose brightness tells their class; multi-label: whose channels tell their labels."""

    train: int = 60
    val: int = 24
    test: int = 30
    classes: int = 3
    sites: int = 0
    labels: Literal["multi-class", "multi-label"] = "multi-class"

    def load(self, request):
        sizes = {"train": self.train, "val": self.val, "test": self.test}
        splits = {name: self._examples(name, size) for name, size in sizes.items()}
        sites = {name: np.arange(size) // 2 % self.sites for name, size in sizes.items()} if self.sites else {}
        task = Task(self.labels, tuple(f"kind {k}" for k in range(self.classes)))
        return Splits("spots", task, **splits, digest=f"spots {self}", official=True, sites=sites)

    def _examples(self, split, size):
        rng = stream(3, "spots", split)
        images = rng.integers(0, 120, (size, 8, 8, 3))
        if self.labels == "multi-label":
            labels = rng.integers(0, 2, (size, self.classes))
            images[..., : self.classes] += 100 * labels[:, None, None, :]
        else:
            labels = np.arange(size)[:, None] % self.classes
            images += 120 * labels[:, :, None, None] // self.classes
        return Examples(images.astype(np.uint8), labels.astype(np.int64), np.arange(size), "last")


class Net(Backbone):
    """One convolution, with or without batch normalization, and a head."""

    def __init__(self, outputs, channels, width, norm):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.head = nn.Linear(width, outputs)
        self.embedding_size = width

    def outputs(self, images):
        maps = torch.tanh(self.norm(self.conv(images)))
        embedding = maps.mean(dim=(2, 3))
        return Outputs(self.head(embedding), embedding, (maps,))

    def forward(self, images):
        return self.outputs(images).logits


@dataclass(frozen=True)
class Tiny:
    """With batch normalization."""

    name: ClassVar[str] = "tiny"
    width: ClassVar[int] = 6
    norm: ClassVar[bool] = True

    def build(self, outputs, channels, image_size):
        return Net(outputs, channels, self.width, self.norm)


class Wide(Tiny):
    """Another shape."""

    name = "wide"
    width = 9


class Plain(Tiny):
    """Without batch normalization: the gradient of a batch is the mean of its images' gradients."""

    name = "plain"
    norm = False


@dataclass(frozen=True)
class Avg(LocalUpdate):
    """Averages weights, as the simplest update that hears and says something."""

    def train(self, client, received, ctx):
        net = load_global(received, client.backbone, ctx)
        metrics = fit(net, client.train, ctx)
        return Update(Payload.of(net), len(client.train), metrics)

    def global_predictors(self, received, backbone, ctx):
        return {"global": load_global(received, backbone, ctx)}


@dataclass(frozen=True)
class Tuned(Avg):
    """Averages weights, and declares values that tuning tries."""

    mu: Annotated[float, Field(ge=0, le=2), LogUniform(0.1, 1)] = 0.5


@dataclass(frozen=True)
class Faulty(Avg):
    """Averages weights, but one client does one thing wrong in one round."""

    fault: Literal["nan", "infinity", "mutate", "raise", "weight", "memory", "metrics", "none"] = "none"
    client: int = 1
    round: int = 1

    def train(self, client, received, ctx):
        if (client.id, ctx.round) != (self.client, self.round):
            return super().train(client, received, ctx)
        if self.fault == "raise":
            raise ZeroDivisionError("by zero")
        if self.fault == "mutate":
            received.tensors["head.bias"].add_(1)
        reply = super().train(client, received, ctx)
        if self.fault in ("nan", "infinity"):
            reply.payload.tensors["head.bias"][0] = {"nan": torch.nan, "infinity": torch.inf}[self.fault]
        if self.fault == "memory":
            client.memory["thoughts"] = [1, 2]
        return {
            "weight": Update(reply.payload, -1.0, reply.metrics),
            "metrics": Update(reply.payload, reply.num_examples, {**reply.metrics, "mood": 1.0}),
            "none": None,
        }.get(self.fault, reply)


@dataclass(frozen=True)
class Rival(LocalUpdate):
    """A private model that stays, and one that goes from inbox to inbox; both train where they are."""

    def setup(self, client, ctx):
        client.models["own"] = ctx.build(client.backbone, role="own")

    def train(self, client, received, ctx):
        guest = ctx.build(client.backbone if received is None else received.meta["backbone"], role="guest")
        if received is not None:
            received.load_into(guest)
        fit(client.models["own"], client.train, ctx)
        metrics = fit(guest, client.train, ctx)
        owner = str(client.id) if received is None else received.meta["owner"]
        return Update(Payload.of(guest, meta={"owner": owner, "backbone": guest.name}), len(client.train), metrics)

    def predictors(self, client, received, ctx):
        return dict(client.models)


@dataclass(frozen=True)
class Doomed(Rival):
    """As Rival, but one turn ends or hangs its process, as often as there are no more files in `path` than `times`."""

    path: str = ""
    end: Literal["die", "hang"] = "die"
    times: int = 1
    client: int = 1
    round: int = 1
    phase: int = 0

    def train(self, client, received, ctx):
        tries = Path(self.path)
        doomed = (client.id, ctx.round, ctx.phase) == (self.client, self.round, self.phase)
        if doomed and len(list(tries.iterdir())) < self.times:
            (tries / str(os.getpid())).touch()
            time.sleep(600) if self.end == "hang" else os.kill(os.getpid(), signal.SIGKILL)
        return super().train(client, received, ctx)


@dataclass(frozen=True)
class Pair(LocalUpdate):
    """A teacher that stays and a student of the teacher's own backbone that travels; counts its turns."""

    def setup(self, client, ctx):
        client.models["teacher"] = ctx.build(client.backbone, role="teacher")
        client.memory["turns"] = 0

    def train(self, client, received, ctx):
        student = ctx.build(client.backbone, role="student")
        twin = ctx.build(client.backbone, role="student")
        apart = {
            "teacher_and_student": _apart(client.models["teacher"], student),
            "student_and_twin": _apart(student, twin),
        }
        if received is not None:
            received.load_into(student)
        fit(client.models["teacher"], client.train, ctx)
        metrics = fit(student, client.train, ctx)
        client.memory["turns"] += 1
        return Update(Payload.of(student), len(client.train), {**metrics, **apart, "turns": client.memory["turns"]})

    def predictors(self, client, received, ctx):
        student = ctx.build(client.backbone, role="student")
        if received is not None:
            received.load_into(student)
        return {"teacher": client.models["teacher"], "student": student}


@dataclass(frozen=True)
class Moody(Avg):
    """Draws from torch's global generator, as dropout does, and remembers only from an even round to the next."""

    def train(self, client, received, ctx):
        reply = super().train(client, received, ctx)
        remembers = client.memory.pop("round", -1)
        if ctx.round % 2 == 0:
            client.memory["round"] = ctx.round
        draws = {"draw": float(torch.rand(1)), "remembers": remembers}
        return Update(reply.payload, reply.num_examples, {**reply.metrics, **draws})


def _apart(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum(float((a - b).detach().abs().sum()) for a, b in pairs)


@dataclass(frozen=True)
class Top(Compressor):
    """Keeps a part of each tensor's entries and sends what was left out later; logs what it does under `path`."""

    keep: Annotated[float, Field(gt=0, le=1)] = 1.0
    feedback: bool = True
    path: str = ""

    def encode(self, payload, ctx, memory):
        self._log("said", payload, ctx.round)
        tensors = {name: self._top(name, tensor, memory) for name, tensor in payload.tensors.items()}
        sent = Payload(tensors, {**payload.meta, "top": "1"})
        self._log("sent", sent, ctx.round)
        return sent

    def decode(self, payload):
        self._log("decoded", payload, 0)
        return Payload(payload.tensors, {key: value for key, value in payload.meta.items() if key != "top"})

    def _top(self, name, tensor, memory):
        if not tensor.is_floating_point():
            return tensor
        owed = tensor.detach() + memory.get(name, 0.0)
        kept = torch.zeros_like(owed)
        largest = owed.abs().flatten().topk(max(1, int(self.keep * owed.numel()))).indices
        kept.view(-1)[largest] = owed.flatten()[largest]
        if self.feedback:
            memory[name] = owed - kept
        return kept

    def _log(self, what, payload, round_):
        if self.path:
            number = len(list(Path(self.path).iterdir()))
            (Path(self.path) / f"{number:04d}.{what}.{round_}").write_bytes(payload.to_bytes())


@dataclass(frozen=True)
class Lost(Topology):
    """Writes to a place that does not exist, or lives somewhere else."""

    source: int = SERVER
    to: int = SERVER

    def receives_from(self, client):
        return self.source

    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client, (self.to,)) for client in participating])]


@hookimpl
def fedbench_register_datasets():
    return {"spots": Spots}


@dataclass(frozen=True)
class Lines(Tracker):
    """A line of JSON for each round, and one for the summary."""

    fails: bool = False

    def start(self, run):
        run.folder.mkdir(parents=True, exist_ok=True)
        return LinesLog(run, self.fails)


class LinesLog(RunLog):
    def __init__(self, run, fails):
        self.path, self.fails = run.folder / f"{run.name}.jsonl", fails
        known = self.path.read_text().splitlines() if self.path.exists() else []
        self.rounds = max((json.loads(line).get("rounds", 0) for line in known), default=0)
        if not known:
            self.write({"id": run.id, "settings": dict(run.settings)})

    def write(self, values):
        with self.path.open("a") as file:
            file.write(json.dumps(values) + "\n")

    def log(self, rounds, scalars):
        sys.stdout.write("a tracker must not spoil the output\n")
        if self.fails and rounds > 1:
            raise OSError("no route to the server")
        self.write({"rounds": rounds, **scalars})

    def finish(self, summary):
        self.write({"summary": None if summary is None else dict(summary)})


@hookimpl
def fedbench_register_trackers():
    return {"kit-lines": Lines, "kit-failing": partial(Lines, fails=True)}


@hookimpl
def fedbench_register_backbones():
    return {"tiny": Tiny, "wide": Wide, "plain": Plain}


@hookimpl
def fedbench_register_local_updates():
    return {
        "kit-avg": Avg,
        "kit-faulty": Faulty,
        "kit-tuned": Tuned,
        "kit-pair": Pair,
        "kit-moody": Moody,
        "kit-rival": Rival,
        "kit-doomed": Doomed,
    }


@hookimpl
def fedbench_register_compressors():
    return {"kit-top": Top}


@hookimpl
def fedbench_register_topologies():
    return {"kit-lost": Lost}


@hookimpl
def fedbench_register_methods():
    return {
        "kit-faulty": Method("kit-faulty"),
        "kit-tuned": Method("kit-tuned"),
        "kit-whole": Method("kit-avg", partial_participation=False),
        "kit-mispinned": Method("kit-avg", pinned=("aggregator.unifrom",)),
        "kit-pinned": Method("kit-avg", pinned=("topology", "aggregator.uniform")),
        "kit-pair": Method("kit-pair"),
        "kit-moody": Method("kit-moody"),
        "kit-ring": Method("kit-rival", aggregator="relay", topology="ring", mixed_backbones=True),
        "kit-doomed": Method("kit-doomed", aggregator="relay", topology="ring", mixed_backbones=True),
        "kit-thrifty": Method("kit-avg", compressor="kit-top", options={"compressor": {"keep": 0.25}}),
        "kit-asymmetric": Method("kit-avg", compressor="kit-top", downlink="half"),
    }
