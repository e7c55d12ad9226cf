"""Local updates that each do one thing wrong: {name: (class, the case that shows it, a part of its message)}."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from fedbench_core.api import DataRequest, LocalUpdate, Method, Payload, Update, hookimpl
from fedbench_core.data.phantom import Phantom
from fedbench_core.learning import fit, load_global

SEEN = {}


@dataclass(frozen=True)
class Sound(LocalUpdate):
    def train(self, client, received, ctx):
        net = load_global(received, client.backbone, ctx)
        metrics = fit(net, client.train, ctx)
        return Update(Payload.of(net), len(client.train), metrics)

    def global_predictors(self, received, backbone, ctx):
        return {"global": load_global(received, backbone, ctx)}


class Sends(Sound):
    """A correct update; a subclass changes its result."""

    def train(self, client, received, ctx):
        return self.change(super().train(client, received, ctx), ctx)

    def change(self, update, ctx):
        raise NotImplementedError


def with_tensors(update, **tensors):
    return replace(update, payload=Payload({**update.payload.tensors, **tensors}, update.payload.meta))


class SendsNaN(Sends):
    def change(self, update, ctx):
        return with_tensors(update, extra=torch.tensor([0.0]) / 0)


class SendsInfinity(Sends):
    def change(self, update, ctx):
        return with_tensors(update, extra=torch.tensor([torch.inf]))


class SendsNumbers(Sends):
    def change(self, update, ctx):
        return replace(update, payload=Payload(update.payload.tensors, {"round": ctx.round}))


class SendsArrays(Sends):
    def change(self, update, ctx):
        return with_tensors(update, extra=np.zeros(3))


class SendsADict(Sends):
    def change(self, update, ctx):
        return replace(update, payload=dict(update.payload.tensors))


class SendsNoUpdate(Sends):
    def change(self, update, ctx):
        return update.payload


class CountsNaN(Sends):
    def change(self, update, ctx):
        return replace(update, num_examples=float("nan"))


class CountsLessThanZero(Sends):
    def change(self, update, ctx):
        return replace(update, num_examples=-1.0)


class CountsZero(Sends):
    def change(self, update, ctx):
        return replace(update, num_examples=0)


class ReportsWords(Sends):
    def change(self, update, ctx):
        return replace(update, metrics={**update.metrics, "quality": "fine"})


class ReportsMoreLater(Sound):
    def train(self, client, received, ctx):
        update = super().train(client, received, ctx)
        return replace(update, metrics={**update.metrics, **({} if received is None else {"drift": 1.0})})


class ReadsTheClock(Sends):
    def change(self, update, ctx):
        return replace(update, metrics={**update.metrics, "seconds": time.time()})


class ReadsTheDay(Sends):
    """The same for a whole day."""

    def change(self, update, ctx):
        return replace(update, metrics={**update.metrics, "day": time.time() // 86_400})


class NeedsToReceive(Sound):
    def train(self, client, received, ctx):
        len(received.tensors)
        return super().train(client, received, ctx)


class FailsOnOneImage(Sound):
    def train(self, client, received, ctx):
        ctx.build(client.backbone)(client.train.tensors(np.arange(len(client.train) % 8))[0])
        return super().train(client, received, ctx)


class KnowsOneKindOfLabel(Sound):
    def train(self, client, received, ctx):
        torch.bincount(client.train.targets())
        return super().train(client, received, ctx)


class IgnoresTheSchedule(Sound):
    def train(self, client, received, ctx):
        net = load_global(received, client.backbone, ctx)
        step = torch.optim.SGD(net.parameters(), lr=ctx.training.lr)
        return Update(Payload.of(net), len(client.train), fit(net, client.train, ctx, step=step))


class HasItsOwnBudget(Sound):
    def train(self, client, received, ctx):
        return super().train(client, received, replace(ctx, training=replace(ctx.training, steps=3)))


class WritesToReceived(Sound):
    def train(self, client, received, ctx):
        if received is not None:
            next(iter(received.tensors.values())).mul_(1)
        return super().train(client, received, ctx)


class TrainsReceived(Sound):
    def global_predictors(self, received, backbone, ctx):
        if received is not None:
            next(iter(received.tensors.values())).add_(1)
        return super().global_predictors(received, backbone, ctx)


class TakesAllImages(Sound):
    """Trains on the images of all clients, which are in the same array."""

    def train(self, client, received, ctx):
        everything = replace(client.train, indices=np.arange(len(client.train.images)))
        return super().train(replace(client, train=everything), received, ctx)


class FindsTheTestSet(Sound):
    """Trains on the test set, whose file is next to that of the training images."""

    def train(self, client, received, ctx):
        folder = Path(client.train.images.filename).parent
        images, labels = (np.load(folder / f"test_{what}.npy").copy() for what in ("images", "labels"))
        test = replace(client.train, images=images, labels=labels.reshape(-1, 1), indices=np.arange(len(images)))
        return super().train(replace(client, train=test), received, ctx)


class LoadsTheTestSet(Sound):
    def train(self, client, received, ctx):
        test = Phantom(train=96, val=64, test=64).load(DataRequest(Path(client.train.images.filename).parents[1])).test
        return super().train(replace(client, train=test), received, ctx)


@dataclass(frozen=True)
class IgnoresOthers(LocalUpdate):
    """Trains its own model and sends it, and does not use what it receives."""

    def setup(self, client, ctx):
        client.models["own"] = ctx.build(client.backbone)

    def train(self, client, received, ctx):
        metrics = fit(client.models["own"], client.train, ctx)
        return Update(Payload.of(client.models["own"]), len(client.train), metrics)

    def predictors(self, client, received, ctx):
        return {"own": client.models["own"]}


class CountsPredictions(Sound):
    def predictors(self, client, received, ctx):
        client.memory["predictions"] = client.memory.get("predictions", 0) + 1
        return super().predictors(client, received, ctx)


class KeepsOwn(Sound):
    def setup(self, client, ctx):
        client.models["own"] = ctx.build(client.backbone)


class TunesWhatItKeeps(KeepsOwn):
    """Fine-tunes the client's own model to predict with it."""

    def predictors(self, client, received, ctx):
        fit(client.models["own"], client.train, ctx)
        return {"own": client.models["own"]}


class PredictsByCount(Sound):
    def predictors(self, client, received, ctx):
        SEEN["predictions"] = SEEN.get("predictions", 0) + 1
        return {"own": ctx.build(client.backbone, f"count {SEEN['predictions']}")}


class PredictsNothing(Sound):
    def global_predictors(self, received, backbone, ctx):
        return {}


class PredictsImages(Sound):
    def global_predictors(self, received, backbone, ctx):
        return {"global": nn.Identity()}


class PredictsFunctions(Sound):
    def predictors(self, client, received, ctx):
        return {"own": lambda images: images}


class PredictsAList(Sound):
    def predictors(self, client, received, ctx):
        return [ctx.build(client.backbone)]


class PredictsTwice(Sound):
    """Returns its model as the client's own and as the common one."""

    def predictors(self, client, received, ctx):
        return self.global_predictors(received, client.backbone, ctx)


class PredictsNaN(Sound):
    def global_predictors(self, received, backbone, ctx):
        nets = super().global_predictors(received, backbone, ctx)
        with torch.no_grad():
            for weights in nets["global"].parameters():
                weights.fill_(torch.nan)
        return nets


class Shifted(nn.Module):
    """A network whose logits are shifted by a value that is no buffer."""

    def __init__(self, net, shift):
        super().__init__()
        self.net, self.shift = net, shift

    def forward(self, images):
        logits = self.net(images)
        return logits + self.shift * torch.arange(logits.shape[1])


class HidesWhatDecides(Sound):
    def predictors(self, client, received, ctx):
        return {"own": Shifted(load_global(received, client.backbone, ctx), shift=client.id)}


class GrowsRoles(Sound):
    def predictors(self, client, received, ctx):
        return {} if received is None else {"personal": ctx.build(client.backbone)}


class DrawsFromTorch(Sound):
    def train(self, client, received, ctx):
        torch.rand(1)
        return super().train(client, received, ctx)


class SeedsTorch(Sound):
    def train(self, client, received, ctx):
        torch.manual_seed(0)
        return super().train(client, received, ctx)


class DrawsFromPython(Sound):
    def train(self, client, received, ctx):
        random.random()  # noqa: S311  # this is the fault
        return super().train(client, received, ctx)


class TurnsGradientsOff(Sound):
    def predictors(self, client, received, ctx):
        torch.set_grad_enabled(False)
        return super().predictors(client, received, ctx)


class CountsTurnsOfAll(Sound):
    def train(self, client, received, ctx):
        SEEN["turns"] = SEEN.get("turns", 0) + 1
        update = super().train(client, received, ctx)
        return replace(update, metrics={**update.metrics, "turns": SEEN["turns"]})


class RemembersTheLast(Sound):
    """Reports whether another client trained before."""

    def train(self, client, received, ctx):
        update = super().train(client, received, ctx)
        stranger = SEEN.get("last", client.id) != client.id
        SEEN["last"] = client.id
        return replace(update, metrics={**update.metrics, "stranger": float(stranger)})


class ForgetsOnDisk(KeepsOwn):
    """Counts turns on the model, where they are not saved."""

    def train(self, client, received, ctx):
        update = super().train(client, received, ctx)
        own = client.models["own"]
        own.turns = getattr(own, "turns", 0) + 1
        return replace(update, metrics={**update.metrics, "turns": own.turns})


class RemembersLists(Sound):
    def setup(self, client, ctx):
        client.memory["losses"] = []


class ChecksInNumbers(Sound):
    def check(self, client, ctx):
        return [3]


class NoValue(Sound):
    def __eq__(self, other):
        return self is other

    __hash__ = None


class OldSignature(Sound):
    def train(self, client, received):
        return None


class NewModule(Sound):
    """Counts in a variable of the module how many clients were set up."""

    def setup(self, client, ctx):
        SEEN["clients"] = SEEN.get("clients", 0) + 1

    def train(self, client, received, ctx):
        update = super().train(client, received, ctx)
        return replace(update, metrics={**update.metrics, "alone": float(not SEEN.get("clients"))})


class BuildsItsOwn(Sound):
    """Keeps a network that ctx.build did not make."""

    def setup(self, client, ctx):
        client.modules["layer"] = nn.Linear(2, 2)


class ForgetsModules(Sound):
    """Counts turns on a declared module, where they are not saved."""

    modules: ClassVar = {"layer": nn.Linear}

    def setup(self, client, ctx):
        client.modules["layer"] = ctx.build_module("layer", in_features=2, out_features=2)

    def train(self, client, received, ctx):
        update = super().train(client, received, ctx)
        layer = client.modules["layer"]
        layer.turns = getattr(layer, "turns", 0) + 1
        return replace(update, metrics={**update.metrics, "turns": layer.turns})


DEFECTS = {
    "d-sends-nan": (SendsNaN, "update_is_valid", "'extra' holds NaN or infinity"),
    "d-sends-infinity": (SendsInfinity, "update_is_valid", "'extra' holds NaN or infinity"),
    "d-sends-numbers": (SendsNumbers, "update_is_valid", "only strings are sent"),
    "d-sends-arrays": (SendsArrays, "update_is_valid", "only tensors are sent"),
    "d-sends-a-dict": (SendsADict, "update_is_valid", "expected a Payload"),
    "d-sends-no-update": (SendsNoUpdate, "update_is_valid", "expected Update"),
    "d-counts-nan": (CountsNaN, "update_is_valid", "num_examples nan"),
    "d-counts-less": (CountsLessThanZero, "update_is_valid", "num_examples -1.0"),
    "d-counts-zero": (CountsZero, "update_is_valid", "num_examples 0"),
    "d-reports-words": (ReportsWords, "update_is_valid", "metric 'quality' is of type str"),
    "d-reports-more-later": (ReportsMoreLater, "metrics_are_the_same", "report all each time"),
    "d-reports-the-clock": (ReadsTheClock, "depends_on_nothing", "another clock"),
    "d-reports-the-day": (ReadsTheDay, "depends_on_nothing", "another clock"),
    "d-needs-to-receive": (NeedsToReceive, "update_is_valid", "'NoneType' object has no attribute 'tensors'"),
    "d-fails-on-one-image": (FailsOnOneImage, "last_batch", "more than 1 value per channel"),
    "d-knows-one-kind": (KnowsOneKindOfLabel, "multi_label", "bincount"),
    "d-ignores-the-schedule": (IgnoresTheSchedule, "follows_the_schedule", "use ctx.lr"),
    "d-its-own-budget": (HasItsOwnBudget, "by_the_budget", "train by ctx.training"),
    "d-writes-to-received": (
        WritesToReceived,
        "received_payload_is_unchanged",
        "train wrote to the tensors it received",
    ),
    "d-trains-received": (
        TrainsReceived,
        "received_payload_is_unchanged",
        "predictors changed the payload it received",
    ),
    "d-takes-all-images": (TakesAllImages, "own_images", "of other clients and of the test set"),
    "d-finds-the-test-set": (FindsTheTestSet, "own_images", "of other clients and of the test set"),
    "d-loads-the-test-set": (LoadsTheTestSet, "own_images", "the update loads a dataset"),
    "d-counts-predictions": (CountsPredictions, "change_nothing", "changed the client's models or memory"),
    "d-tunes-what-it-keeps": (TunesWhatItKeeps, "change_nothing", "changed the client's models or memory"),
    "d-predicts-by-count": (PredictsByCount, "change_nothing", "gave other models the second time"),
    "d-predicts-nothing": (PredictsNothing, "classify", "gave no model"),
    "d-predicts-images": (PredictsImages, "classify", "expected (4, 8)"),
    "d-predicts-functions": (PredictsFunctions, "classify", "not a module"),
    "d-predicts-a-list": (PredictsAList, "classify", "expected models by role"),
    "d-predicts-twice": (PredictsTwice, "classify", "use different roles"),
    "d-predicts-nan": (PredictsNaN, "classify", "gave NaN or infinity"),
    "d-hides-what-decides": (HidesWhatDecides, "equal_predictors", "belongs in parameters or registered buffers"),
    "d-ignores-others": (IgnoresOthers, "received_payload_is_used", "does the same as one that receives nothing"),
    "d-grows-roles": (GrowsRoles, "classify", "keep them the same"),
    "d-draws-torch": (DrawsFromTorch, "global_state", "global generator of torch"),
    "d-seeds-torch": (SeedsTorch, "global_state", "global generator of torch"),
    "d-draws-python": (DrawsFromPython, "global_state", "global generator of random"),
    "d-gradients-off": (TurnsGradientsOff, "global_state", "whether torch computes gradients"),
    "d-counts-turns-of-all": (CountsTurnsOfAll, "same_turn", "keep nothing in the part"),
    "d-remembers-the-last": (RemembersTheLast, "only_in_the_client", "when client 1 trains before it"),
    "d-forgets-on-disk": (ForgetsOnDisk, "survives_saving", "after the client was saved and loaded"),
    "d-forgets-modules": (ForgetsModules, "survives_saving", "after the client was saved and loaded"),
    "d-builds-its-own": (BuildsItsOwn, "survives_saving", "what ctx.build and ctx.build_module made"),
    "d-remembers-lists": (RemembersLists, "change_nothing", "is of type list"),
    "d-checks-in-numbers": (ChecksInNumbers, "check_returns", "expected strings"),
    "d-no-value-update": (NoValue, "is_a_value", "@dataclass"),
    "d-old-update": (OldSignature, "update_is_valid", "does not take client, received, ctx"),
    "d-new-module": (NewModule, "new_process", "other bits in a new process"),
}


@hookimpl
def fedbench_register_local_updates():
    return {name: defect for name, (defect, _, _) in DEFECTS.items()}


@hookimpl
def fedbench_register_methods():
    return {f"{name}-method": Method(name) for name in DEFECTS}
