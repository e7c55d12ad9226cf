from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from fedbench_core.api import LocalUpdate, Payload, Reply
from fedbench_core.learning import adopt, fit
from fedbench_core.registry import registry
from fedbench_core.testing import LocalUpdateContract
from fedbench_core.testing.small import cache_of

SEEN = Counter()


@dataclass(frozen=True)
class Sound(LocalUpdate):
    def update(self, client, heard, ctx):
        net = adopt(heard, client, ctx)
        metrics = fit(net, client, ctx)
        return Reply(Payload.of(net), len(client.train), metrics)

    def predictors(self, client, heard, ctx):
        return {"global": adopt(heard, client, ctx)}


def _changed(reply, **tensors):
    return replace(reply, payload=Payload({**reply.payload.tensors, **tensors}, reply.payload.meta))


class SaysInfinity(Sound):
    def update(self, client, heard, ctx):
        return _changed(super().update(client, heard, ctx), extra=torch.tensor([torch.inf]))


class SaysNumbers(Sound):
    def update(self, client, heard, ctx):
        reply = super().update(client, heard, ctx)
        return replace(reply, payload=Payload(reply.payload.tensors, {"round": ctx.round}))


class SaysArrays(Sound):
    def update(self, client, heard, ctx):
        return _changed(super().update(client, heard, ctx), extra=np.zeros(3))


class WeighsNothingKnown(Sound):
    def update(self, client, heard, ctx):
        return replace(super().update(client, heard, ctx), weight=float("nan"))


class ReportsWords(Sound):
    def update(self, client, heard, ctx):
        return replace(super().update(client, heard, ctx), metrics={"mood": "fine"})


class ReportsMoreLater(Sound):
    def update(self, client, heard, ctx):
        reply = super().update(client, heard, ctx)
        return replace(reply, metrics={**reply.metrics, **({} if heard is None else {"drift": 1.0})})


class FailsOnOneImage(Sound):
    def update(self, client, heard, ctx):
        ctx.build(client.backbone)(client.train.tensors(np.arange(len(client.train) % 8))[0])
        return super().update(client, heard, ctx)


class KnowsOneKindOfLabel(Sound):
    def update(self, client, heard, ctx):
        torch.bincount(client.train.targets())
        return super().update(client, heard, ctx)


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


class CountsPredictions(Sound):
    def predictors(self, client, heard, ctx):
        client.memory["predictions"] = client.memory.get("predictions", 0) + 1
        return super().predictors(client, heard, ctx)


class PredictsByMood(Sound):
    def predictors(self, client, heard, ctx):
        SEEN["predictions"] += 1
        return {"global": ctx.build(client.backbone, f"mood {SEEN['predictions']}")}


class PredictsNothing(Sound):
    def predictors(self, client, heard, ctx):
        return {}


class PredictsImages(Sound):
    def predictors(self, client, heard, ctx):
        return {"global": nn.Identity()}


class GrowsRoles(Sound):
    def predictors(self, client, heard, ctx):
        own = {} if heard is None else {"personal": ctx.build(client.backbone)}
        return {**super().predictors(client, heard, ctx), **own}


class DrawsGlobally(Sound):
    def update(self, client, heard, ctx):
        torch.rand(1)
        return super().update(client, heard, ctx)


class CountsVisitsOfAll(Sound):
    def update(self, client, heard, ctx):
        SEEN["visits"] += 1
        reply = super().update(client, heard, ctx)
        return replace(reply, metrics={**reply.metrics, "visits": SEEN["visits"]})


class RemembersTheLast(Sound):
    def update(self, client, heard, ctx):
        reply = super().update(client, heard, ctx)
        stranger = SEEN["last"] not in (0, 1 + client.id)
        SEEN["last"] = 1 + client.id
        return replace(reply, metrics={**reply.metrics, "stranger": float(stranger)})


class ForgetsOnDisk(Sound):
    def setup(self, client, ctx):
        client.models["own"] = ctx.build(client.backbone)

    def update(self, client, heard, ctx):
        reply = super().update(client, heard, ctx)
        own = client.models["own"]
        own.visits = getattr(own, "visits", 0) + 1
        return replace(reply, metrics={**reply.metrics, "visits": own.visits})


@pytest.fixture
def suite(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """A suite whose part is what the test says, and its scene."""
    SEEN.clear()

    def make(part):
        one = type("Suite", (LocalUpdateContract,), {"name": "kit-avg", "make": lambda _self: part()})()
        return one, one._scene(part(), cache_of(tmp_path_factory))

    return make


@pytest.mark.parametrize(
    ("faulty", "case", "arguments", "says"),
    [
        (SaysInfinity, "test_says_what_can_travel", [], "'extra' holds NaN or infinity"),
        (SaysNumbers, "test_says_what_can_travel", [], "meta 'round' is of type int; only strings travel"),
        (SaysArrays, "test_says_what_can_travel", [], "'extra' is of type ndarray; only tensors travel"),
        (WeighsNothingKnown, "test_says_what_can_travel", [], "weight nan"),
        (ReportsWords, "test_says_what_can_travel", [], "metric 'mood' is of type str"),
        (ReportsMoreLater, "test_metrics_are_the_same_each_visit", [], "report all each time"),
        (WritesToWhatItHears, "test_what_it_heard_is_unchanged", [], "update wrote to the tensors it heard"),
        (TrainsWhatItHears, "test_what_it_heard_is_unchanged", [], "predictors changed the payload it heard"),
        (CountsPredictions, "test_predictors_change_nothing", [True], "changed the client's models or memory"),
        (PredictsByMood, "test_predictors_change_nothing", [False], "gave other models the second time"),
        (PredictsNothing, "test_predictors_classify", [], "gave no model"),
        (PredictsImages, "test_predictors_classify", [], r"gave \(4, 3, 28, 28\) for 4 images; expected \(4, 8\)"),
        (GrowsRoles, "test_predictors_classify", [], "keep them the same"),
        (DrawsGlobally, "test_global_randomness_is_untouched", [], "global generator of torch"),
    ],
)
def test_faults_of_one_visit(suite, faulty, case, arguments, says) -> None:
    one, scene = suite(faulty)
    with pytest.raises(AssertionError, match=says):
        getattr(one, case)(scene, *arguments)


@pytest.mark.parametrize(
    ("faulty", "case", "says"),
    [
        (CountsVisitsOfAll, "test_same_visit_same_bits", "keep nothing here"),
        (RemembersTheLast, "test_state_is_only_in_the_client", "when client 1 visits before it"),
        (ForgetsOnDisk, "test_state_survives_the_disk", "other bits in round 1 after models and memory were saved"),
    ],
)
def test_faults_between_visits(suite, tmp_path_factory, faulty, case, says) -> None:
    one, scene = suite(faulty)
    extra = [] if case == "test_state_is_only_in_the_client" else [tmp_path_factory]
    with pytest.raises(AssertionError, match=says):
        getattr(one, case)(scene, *extra)


@pytest.mark.parametrize(
    ("faulty", "case", "arguments"),
    [
        (FailsOnOneImage, "test_survives_a_last_batch_of_one_image", [9]),
        (KnowsOneKindOfLabel, "test_works_on_multi_label_tasks", []),
    ],
)
def test_what_a_faulty_visit_raises_is_seen(suite, faulty, case, arguments) -> None:
    one, scene = suite(faulty)
    with pytest.raises((ValueError, RuntimeError)):
        getattr(one, case)(scene, *arguments)


PID = """
import os
from dataclasses import dataclass, replace
from fedbench_core.api import LocalUpdate, Method, Payload, Reply, hookimpl
from fedbench_core.learning import adopt, fit

@dataclass(frozen=True)
class Pid(LocalUpdate):
    def setup(self, client, ctx):
        client.memory["visits"] = 0

    def update(self, client, heard, ctx):
        net = adopt(heard, client, ctx)
        client.memory["visits"] += os.getpid()
        return Reply(Payload.of(net), len(client.train), fit(net, client, ctx))

    def predictors(self, client, heard, ctx):
        return {"global": adopt(heard, client, ctx)}

@hookimpl
def fedbench_register_local_updates():
    return {"pid": Pid}

@hookimpl
def fedbench_register_methods():
    return {"pid": Method("pid")}
"""


def test_a_part_that_lives_in_its_process_is_caught(distribution, tmp_path_factory) -> None:
    distribution("fedbench-pid", PID)
    registry.cache_clear()
    try:
        suite = type("Suite", (LocalUpdateContract,), {"name": "pid"})()
        scene = suite._scene(suite.make(), cache_of(tmp_path_factory))
        with pytest.raises(AssertionError, match="other bits in a new process"):
            suite.test_goes_on_in_a_new_process(scene, tmp_path_factory)
    finally:
        registry.cache_clear()


def test_an_update_that_no_method_uses_is_told(tmp_path_factory) -> None:
    suite = type("Suite", (LocalUpdateContract,), {"name": "unused"})()
    with pytest.raises(AssertionError, match="no method uses the local update 'unused'"):
        suite._scene(Sound(), cache_of(tmp_path_factory))
