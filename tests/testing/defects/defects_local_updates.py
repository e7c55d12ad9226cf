"""Local updates that each do one thing wrong: {name: (class, the case that shows it, a word of its message)}."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedbench_core.api import DataRequest, LocalUpdate, Method, Payload, Reply, hookimpl
from fedbench_core.data.phantom import Phantom
from fedbench_core.learning import adopt, fit

SEEN = {}


@dataclass(frozen=True)
class Sound(LocalUpdate):
    def update(self, client, heard, ctx):
        net = adopt(heard, client, ctx)
        metrics = fit(net, client, ctx)
        return Reply(Payload.of(net), len(client.train), metrics)

    def predictors(self, client, heard, ctx):
        return {"global": adopt(heard, client, ctx)}


class Says(Sound):
    """A sound update, of which a subclass changes what is said."""

    def update(self, client, heard, ctx):
        return self.change(super().update(client, heard, ctx), ctx)

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
    def update(self, client, heard, ctx):
        reply = super().update(client, heard, ctx)
        return replace(reply, metrics={**reply.metrics, **({} if heard is None else {"drift": 1.0})})


class ReadsTheClock(Says):
    def change(self, reply, ctx):
        return replace(reply, metrics={**reply.metrics, "seconds": time.time()})


class ReadsTheDay(Says):
    """The same for a whole day, and another tomorrow."""

    def change(self, reply, ctx):
        return replace(reply, metrics={**reply.metrics, "day": time.time() // 86_400})


class NeedsToHear(Sound):
    def update(self, client, heard, ctx):
        len(heard.tensors)
        return super().update(client, heard, ctx)


class FailsOnOneImage(Sound):
    def update(self, client, heard, ctx):
        ctx.build(client.backbone)(client.train.tensors(np.arange(len(client.train) % 8))[0])
        return super().update(client, heard, ctx)


class KnowsOneKindOfLabel(Sound):
    def update(self, client, heard, ctx):
        torch.bincount(client.train.targets())
        return super().update(client, heard, ctx)


class HasItsOwnBudget(Sound):
    def update(self, client, heard, ctx):
        return super().update(client, heard, replace(ctx, training=replace(ctx.training, steps=3)))


class WritesToWhatItHears(Sound):
    def update(self, client, heard, ctx):
        if heard is not None:
            next(iter(heard.tensors.values())).mul_(1)
        return super().update(client, heard, ctx)


class TrainsWhatItHears(Sound):
    def predictors(self, client, heard, ctx):
        if heard is not None:
            next(iter(heard.tensors.values())).add_(1)
        return super().predictors(client, heard, ctx)


class TakesAllImages(Sound):
    """Trains on the images of all clients, which lie in the same array."""

    def update(self, client, heard, ctx):
        everything = replace(client.train, indices=np.arange(len(client.train.images)))
        return super().update(replace(client, train=everything), heard, ctx)


class FindsTheTestSet(Sound):
    """Trains on the test set too, which lies beside the training images."""

    def update(self, client, heard, ctx):
        folder = Path(client.train.images.filename).parent
        images, labels = (np.load(folder / f"test_{what}.npy").copy() for what in ("images", "labels"))
        test = replace(client.train, images=images, labels=labels.reshape(-1, 1), indices=np.arange(len(images)))
        return super().update(replace(client, train=test), heard, ctx)


class LoadsTheTestSet(Sound):
    def update(self, client, heard, ctx):
        test = Phantom(train=96, val=64, test=64).load(DataRequest(Path(client.train.images.filename).parents[1])).test
        return super().update(replace(client, train=test), heard, ctx)


@dataclass(frozen=True)
class Deaf(LocalUpdate):
    """Trains its own model and says it, and listens to nobody."""

    def setup(self, client, ctx):
        client.models["own"] = ctx.build(client.backbone)

    def update(self, client, heard, ctx):
        metrics = fit(client.models["own"], client, ctx)
        return Reply(Payload.of(client.models["own"]), len(client.train), metrics)

    def predictors(self, client, heard, ctx):
        return {"own": client.models["own"]}


class CountsPredictions(Sound):
    def predictors(self, client, heard, ctx):
        client.memory["predictions"] = client.memory.get("predictions", 0) + 1
        return super().predictors(client, heard, ctx)


class KeepsOwn(Sound):
    def setup(self, client, ctx):
        client.models["own"] = ctx.build(client.backbone)


class TunesWhatItKeeps(KeepsOwn):
    """Fine-tunes the client's own model to predict with it."""

    def predictors(self, client, heard, ctx):
        fit(client.models["own"], client, ctx)
        return {"own": client.models["own"]}


class PredictsByMood(Sound):
    def predictors(self, client, heard, ctx):
        SEEN["predictions"] = SEEN.get("predictions", 0) + 1
        return {"global": ctx.build(client.backbone, f"mood {SEEN['predictions']}")}


class PredictsNothing(Sound):
    def predictors(self, client, heard, ctx):
        return {}


class PredictsImages(Sound):
    def predictors(self, client, heard, ctx):
        return {"global": nn.Identity()}


class PredictsFunctions(Sound):
    def predictors(self, client, heard, ctx):
        return {"global": lambda images: images}


class PredictsNaN(Sound):
    def predictors(self, client, heard, ctx):
        nets = super().predictors(client, heard, ctx)
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
    def predictors(self, client, heard, ctx):
        return {"global": Warmed(adopt(heard, client, ctx), shift=client.id)}


class GrowsRoles(Sound):
    def predictors(self, client, heard, ctx):
        own = {} if heard is None else {"personal": ctx.build(client.backbone)}
        return {**super().predictors(client, heard, ctx), **own}


class DrawsFromTorch(Sound):
    def update(self, client, heard, ctx):
        torch.rand(1)
        return super().update(client, heard, ctx)


class SeedsTorch(Sound):
    def update(self, client, heard, ctx):
        torch.manual_seed(0)
        return super().update(client, heard, ctx)


class DrawsFromPython(Sound):
    def update(self, client, heard, ctx):
        random.random()  # noqa: S311  # this is the fault
        return super().update(client, heard, ctx)


class TurnsGradientsOff(Sound):
    def predictors(self, client, heard, ctx):
        torch.set_grad_enabled(False)
        return super().predictors(client, heard, ctx)


class CountsVisitsOfAll(Sound):
    def update(self, client, heard, ctx):
        SEEN["visits"] = SEEN.get("visits", 0) + 1
        reply = super().update(client, heard, ctx)
        return replace(reply, metrics={**reply.metrics, "visits": SEEN["visits"]})


class RemembersTheLast(Sound):
    """Knows who was there before."""

    def update(self, client, heard, ctx):
        reply = super().update(client, heard, ctx)
        stranger = SEEN.get("last", client.id) != client.id
        SEEN["last"] = client.id
        return replace(reply, metrics={**reply.metrics, "stranger": float(stranger)})


class ForgetsOnDisk(KeepsOwn):
    """Counts visits on the model, where no disk will find them."""

    def update(self, client, heard, ctx):
        reply = super().update(client, heard, ctx)
        own = client.models["own"]
        own.visits = getattr(own, "visits", 0) + 1
        return replace(reply, metrics={**reply.metrics, "visits": own.visits})


class RemembersLists(Sound):
    def setup(self, client, ctx):
        client.memory["losses"] = []


class InspectsInNumbers(Sound):
    def inspect(self, client, ctx):
        return [3]


class NoValue(Sound):
    def __eq__(self, other):
        return self is other

    __hash__ = None


class OldSignature(Sound):
    def update(self, client, heard):
        return None


class NewModule(Sound):
    """Remembers in the module how many clients were ever set up, and tells every client."""

    def setup(self, client, ctx):
        SEEN["clients"] = SEEN.get("clients", 0) + 1

    def update(self, client, heard, ctx):
        reply = super().update(client, heard, ctx)
        return replace(reply, metrics={**reply.metrics, "alone": float(not SEEN.get("clients"))})


DEFECTS = {
    "d-says-nan": (SaysNaN, "says_what", "'extra' holds NaN or infinity"),
    "d-says-infinity": (SaysInfinity, "says_what", "'extra' holds NaN or infinity"),
    "d-says-numbers": (SaysNumbers, "says_what", "only strings travel"),
    "d-says-arrays": (SaysArrays, "says_what", "only tensors travel"),
    "d-says-a-dict": (SaysADict, "says_what", "expected a Payload"),
    "d-says-no-reply": (SaysNoReply, "says_what", "expected a Reply"),
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
    "d-writes-to-heard": (WritesToWhatItHears, "heard_is_unchanged", "update wrote to the tensors it heard"),
    "d-trains-heard": (TrainsWhatItHears, "heard_is_unchanged", "predictors changed the payload it heard"),
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
    "d-counts-visits-of-all": (CountsVisitsOfAll, "same_visit", "keep nothing here"),
    "d-remembers-the-last": (RemembersTheLast, "only_in_the_client", "when client 1 visits before it"),
    "d-forgets-on-disk": (ForgetsOnDisk, "survives_the_disk", "after models and memory were saved and loaded"),
    "d-remembers-lists": (RemembersLists, "change_nothing", "is a list"),
    "d-inspects-in-numbers": (InspectsInNumbers, "inspecting", "expected strings"),
    "d-no-value-update": (NoValue, "is_a_value", "@dataclass"),
    "d-old-update": (OldSignature, "says_what", "does not take client, heard, ctx"),
    "d-new-module": (NewModule, "new_process", "other bits in a new process"),
}


@hookimpl
def fedbench_register_local_updates():
    return {name: defect for name, (defect, _, _) in DEFECTS.items()}


@hookimpl
def fedbench_register_methods():
    return {f"{name}-method": Method(name) for name in DEFECTS}
