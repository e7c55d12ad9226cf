"""Local updates that each do one thing wrong: {name: (class, the case that shows it, a word of its message)}."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

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
        net = load_global(received, client, ctx)
        metrics = fit(net, client, ctx)
        return Update(Payload.of(net), len(client.train), metrics)

    def predictors(self, client, received, ctx):
        return {"global": load_global(received, client, ctx)}


class Says(Sound):
    """A sound update, of which a subclass changes what is said."""

    def train(self, client, received, ctx):
        return self.change(super().train(client, received, ctx), ctx)

    def change(self, reply, ctx):
        raise NotImplementedError


def with_tensors(reply, **tensors):
    return replace(reply, payload=Payload({**reply.payload.tensors, **tensors}, reply.payload.meta))


class SaysNaN(Says):
    def change(self, reply, ctx):
        return with_tensors(reply, extra=torch.tensor([0.0]) / 0)


class SaysInfinity(Says):
    def change(self, reply, ctx):
        return with_tensors(reply, extra=torch.tensor([torch.inf]))


class SaysNumbers(Says):
    def change(self, reply, ctx):
        return replace(reply, payload=Payload(reply.payload.tensors, {"round": ctx.round}))


class SaysArrays(Says):
    def change(self, reply, ctx):
        return with_tensors(reply, extra=np.zeros(3))


class SaysADict(Says):
    def change(self, reply, ctx):
        return replace(reply, payload=dict(reply.payload.tensors))


class SaysNoReply(Says):
    def change(self, reply, ctx):
        return reply.payload


class WeighsNaN(Says):
    def change(self, reply, ctx):
        return replace(reply, weight=float("nan"))


class WeighsLessThanNothing(Says):
    def change(self, reply, ctx):
        return replace(reply, weight=-1.0)


class WeighsNothing(Says):
    def change(self, reply, ctx):
        return replace(reply, weight=0)


class ReportsWords(Says):
    def change(self, reply, ctx):
        return replace(reply, metrics={**reply.metrics, "mood": "fine"})


class ReportsMoreLater(Sound):
    def train(self, client, received, ctx):
        reply = super().train(client, received, ctx)
        return replace(reply, metrics={**reply.metrics, **({} if received is None else {"drift": 1.0})})


class ReadsTheClock(Says):
    def change(self, reply, ctx):
        return replace(reply, metrics={**reply.metrics, "seconds": time.time()})


class ReadsTheDay(Says):
    """The same for a whole day, and another tomorrow."""

    def change(self, reply, ctx):
        return replace(reply, metrics={**reply.metrics, "day": time.time() // 86_400})


class NeedsToHear(Sound):
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


class HasItsOwnBudget(Sound):
    def train(self, client, received, ctx):
        return super().train(client, received, replace(ctx, training=replace(ctx.training, steps=3)))


class WritesToWhatItHears(Sound):
    def train(self, client, received, ctx):
        if received is not None:
            next(iter(received.tensors.values())).mul_(1)
        return super().train(client, received, ctx)


class TrainsWhatItHears(Sound):
    def predictors(self, client, received, ctx):
        if received is not None:
            next(iter(received.tensors.values())).add_(1)
        return super().predictors(client, received, ctx)


class TakesAllImages(Sound):
    """Trains on the images of all clients, which lie in the same array."""

    def train(self, client, received, ctx):
        everything = replace(client.train, indices=np.arange(len(client.train.images)))
        return super().train(replace(client, train=everything), received, ctx)


class FindsTheTestSet(Sound):
    """Trains on the test set too, which lies beside the training images."""

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
class Deaf(LocalUpdate):
    """Trains its own model and says it, and listens to nobody."""

    def setup(self, client, ctx):
        client.models["own"] = ctx.build(client.backbone)

    def train(self, client, received, ctx):
        metrics = fit(client.models["own"], client, ctx)
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
        fit(client.models["own"], client, ctx)
        return {"own": client.models["own"]}


class PredictsByMood(Sound):
    def predictors(self, client, received, ctx):
        SEEN["predictions"] = SEEN.get("predictions", 0) + 1
        return {"global": ctx.build(client.backbone, f"mood {SEEN['predictions']}")}


class PredictsNothing(Sound):
    def predictors(self, client, received, ctx):
        return {}


class PredictsImages(Sound):
    def predictors(self, client, received, ctx):
        return {"global": nn.Identity()}


class PredictsFunctions(Sound):
    def predictors(self, client, received, ctx):
        return {"global": lambda images: images}


class PredictsNaN(Sound):
    def predictors(self, client, received, ctx):
        nets = super().predictors(client, received, ctx)
        with torch.no_grad():
            for weights in nets["global"].parameters():
                weights.fill_(torch.nan)
        return nets


class Warmed(nn.Module):
    """A network whose logits are moved by something that is no buffer."""

    def __init__(self, net, shift):
        super().__init__()
        self.net, self.shift = net, shift

    def forward(self, images):
        logits = self.net(images)
        return logits + self.shift * torch.arange(logits.shape[1])


class HidesWhatDecides(Sound):
    def predictors(self, client, received, ctx):
        return {"global": Warmed(load_global(received, client, ctx), shift=client.id)}


class GrowsRoles(Sound):
    def predictors(self, client, received, ctx):
        own = {} if received is None else {"personal": ctx.build(client.backbone)}
        return {**super().predictors(client, received, ctx), **own}


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
        reply = super().train(client, received, ctx)
        return replace(reply, metrics={**reply.metrics, "turns": SEEN["turns"]})


class RemembersTheLast(Sound):
    """Knows who was there before."""

    def train(self, client, received, ctx):
        reply = super().train(client, received, ctx)
        stranger = SEEN.get("last", client.id) != client.id
        SEEN["last"] = client.id
        return replace(reply, metrics={**reply.metrics, "stranger": float(stranger)})


class ForgetsOnDisk(KeepsOwn):
    """Counts turns on the model, where no disk will find them."""

    def train(self, client, received, ctx):
        reply = super().train(client, received, ctx)
        own = client.models["own"]
        own.turns = getattr(own, "turns", 0) + 1
        return replace(reply, metrics={**reply.metrics, "turns": own.turns})


class RemembersLists(Sound):
    def setup(self, client, ctx):
        client.memory["losses"] = []


class InspectsInNumbers(Sound):
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
    """Remembers in the module how many clients were ever set up, and tells every client."""

    def setup(self, client, ctx):
        SEEN["clients"] = SEEN.get("clients", 0) + 1

    def train(self, client, received, ctx):
        reply = super().train(client, received, ctx)
        return replace(reply, metrics={**reply.metrics, "alone": float(not SEEN.get("clients"))})


DEFECTS = {
    "d-says-nan": (SaysNaN, "says_what", "'extra' holds NaN or infinity"),
    "d-says-infinity": (SaysInfinity, "says_what", "'extra' holds NaN or infinity"),
    "d-says-numbers": (SaysNumbers, "says_what", "only strings travel"),
    "d-says-arrays": (SaysArrays, "says_what", "only tensors travel"),
    "d-says-a-dict": (SaysADict, "says_what", "expected a Payload"),
    "d-says-no-reply": (SaysNoReply, "says_what", "expected a Update"),
    "d-weighs-nan": (WeighsNaN, "says_what", "weight nan"),
    "d-weighs-less": (WeighsLessThanNothing, "says_what", "weight -1.0"),
    "d-weighs-nothing": (WeighsNothing, "says_what", "weight 0"),
    "d-reports-words": (ReportsWords, "says_what", "metric 'mood' is of type str"),
    "d-reports-more-later": (ReportsMoreLater, "metrics_are_the_same", "report all each time"),
    "d-reports-the-clock": (ReadsTheClock, "depends_on_nothing", "another clock"),
    "d-says-the-day": (ReadsTheDay, "depends_on_nothing", "another clock"),
    "d-needs-to-hear": (NeedsToHear, "says_what", "'NoneType' object has no attribute 'tensors'"),
    "d-fails-on-one-image": (FailsOnOneImage, "last_batch", "more than 1 value per channel"),
    "d-knows-one-kind": (KnowsOneKindOfLabel, "multi_label", "bincount"),
    "d-its-own-budget": (HasItsOwnBudget, "by_the_budget", "train by ctx.training"),
    "d-writes-to-received": (WritesToWhatItHears, "received_is_unchanged", "update wrote to the tensors it received"),
    "d-trains-received": (TrainsWhatItHears, "received_is_unchanged", "predictors changed the payload it received"),
    "d-takes-all-images": (TakesAllImages, "own_images", "of other clients and of the test set"),
    "d-finds-the-test-set": (FindsTheTestSet, "own_images", "of other clients and of the test set"),
    "d-loads-the-test-set": (LoadsTheTestSet, "own_images", "loads a dataset by itself"),
    "d-counts-predictions": (CountsPredictions, "change_nothing", "changed the client's models or memory"),
    "d-tunes-what-it-keeps": (TunesWhatItKeeps, "change_nothing", "changed the client's models or memory"),
    "d-predicts-by-mood": (PredictsByMood, "change_nothing", "gave other models the second time"),
    "d-predicts-nothing": (PredictsNothing, "classify", "gave no model"),
    "d-predicts-images": (PredictsImages, "classify", "expected (4, 8)"),
    "d-predicts-functions": (PredictsFunctions, "classify", "not a module"),
    "d-predicts-nan": (PredictsNaN, "classify", "gave NaN or infinity"),
    "d-hides-what-decides": (HidesWhatDecides, "told_apart", "belongs in parameters or registered buffers"),
    "d-deaf": (Deaf, "hears_has_a_part", "does as one that hears nothing"),
    "d-grows-roles": (GrowsRoles, "classify", "keep them the same"),
    "d-draws-torch": (DrawsFromTorch, "global_state", "global generator of torch"),
    "d-seeds-torch": (SeedsTorch, "global_state", "global generator of torch"),
    "d-draws-python": (DrawsFromPython, "global_state", "global generator of random"),
    "d-gradients-off": (TurnsGradientsOff, "global_state", "whether torch computes gradients"),
    "d-counts-turns-of-all": (CountsTurnsOfAll, "same_turn", "keep nothing here"),
    "d-remembers-the-last": (RemembersTheLast, "only_in_the_client", "when client 1 turns before it"),
    "d-forgets-on-disk": (ForgetsOnDisk, "survives_the_disk", "after models and memory were saved and loaded"),
    "d-remembers-lists": (RemembersLists, "change_nothing", "is a list"),
    "d-inspects-in-numbers": (InspectsInNumbers, "inspecting", "expected strings"),
    "d-no-value-update": (NoValue, "is_a_value", "@dataclass"),
    "d-old-update": (OldSignature, "says_what", "does not take client, received, ctx"),
    "d-new-module": (NewModule, "new_process", "other bits in a new process"),
}


@hookimpl
def fedbench_register_local_updates():
    return {name: defect for name, (defect, _, _) in DEFECTS.items()}


@hookimpl
def fedbench_register_methods():
    return {f"{name}-method": Method(name) for name in DEFECTS}
