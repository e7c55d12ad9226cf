"""Aggregators that each do one thing wrong: {name: (class, the case that shows it, a part of its message)}."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from fedbench_core.api import (
    Accumulator,
    Aggregator,
    LocalUpdate,
    Message,
    Method,
    Payload,
    RunError,
    Update,
    hookimpl,
)
from fedbench_core.learning import Agreement, fit, load_global
from fedbench_core.parts.aggregators import Mean

SEEN = {}


@dataclass
class Last(Aggregator, Accumulator):
    """Keeps the last message, in the part itself: wrong in most ways."""

    def start(self, state, ctx):
        return self

    def add(self, message) -> None:
        self.message = message

    def result(self):
        return self.message.payload


class After(Mean):
    """A correct mean; a subclass changes its result."""

    def start(self, state, ctx):
        inner, change = super().start(state, ctx), self.change

        class Changed(Accumulator):
            def add(self, message) -> None:
                inner.add(message)

            def result(self):
                return change(inner.result())

        return Changed()

    def change(self, payload):
        raise NotImplementedError


class Before(Mean):
    """A correct mean; a subclass changes its messages."""

    def start(self, state, ctx):
        inner, change = super().start(state, ctx), self.change

        class Changed(Accumulator):
            def add(self, message) -> None:
                inner.add(change(message))

            def result(self):
                return inner.result()

        return Changed()

    def change(self, message):
        raise NotImplementedError


class Hoards(Mean):
    """Keeps all messages until the end, and does not declare it."""

    def start(self, state, ctx):
        inner, messages = super().start(state, ctx), []

        class All(Accumulator):
            def add(self, message) -> None:
                messages.append(message)

            def result(self):
                for message in messages:
                    inner.add(message)
                return inner.result()

        return All()


class Single(Last):
    """A weighted mean in single precision, without checks."""

    def start(self, state, ctx):
        fold = type(self)()
        fold.total = 0.0
        return fold

    def add(self, message) -> None:
        self.sums = {
            name: message.num_examples * tensor + (self.sums[name] if self.total else 0)
            for name, tensor in message.payload.tensors.items()
        }
        self.total += message.num_examples
        self.message = message

    def result(self):
        of = self.message.payload.tensors
        tensors = {name: (added / self.total).to(of[name].dtype) for name, added in self.sums.items()}
        return Payload(tensors, self.message.payload.meta)


class Sum(Single):
    def result(self):
        return Payload(self.sums, self.message.payload.meta)


class DividesByWeight(Mean):
    """A running mean that divides by the weight so far, even if it is zero."""

    def start(self, state, ctx):
        inner, total = super().start(state, ctx), torch.zeros((), dtype=torch.float64)

        class Divides(Accumulator):
            def add(self, message) -> None:
                total.add_(message.num_examples)
                share = message.num_examples / total
                tensors = {
                    n: t * share / share if t.is_floating_point() else t for n, t in message.payload.tensors.items()
                }
                inner.add(Message(message.sender, Payload(tensors, message.payload.meta), message.num_examples or 1e-9))

            def result(self):
                return inner.result()

        return Divides()


class NoMeta(After):
    def change(self, payload):
        return Payload(payload.tensors)


class DropsBuffers(After):
    def change(self, payload):
        return Payload({n: t for n, t in payload.tensors.items() if t.is_floating_point()}, payload.meta)


class AllInDouble(After):
    def change(self, payload):
        return Payload({n: t.double() for n, t in payload.tensors.items()}, payload.meta)


class DrawsNumpy(After):
    def change(self, payload):
        np.random.random()  # noqa: NPY002  # this is the fault
        return payload


class ReadsTheMonth(After):
    def change(self, payload):
        return Payload(payload.tensors, {**payload.meta, "month": time.strftime("%m", time.gmtime())})


class WritesToMessages(Before):
    def change(self, message):
        message.payload.tensors["fc.bias"].mul_(2)
        return message


class CountsAggregations(After):
    """Counts aggregations in a variable of the module."""

    def change(self, payload):
        SEEN["count"] = SEEN.get("count", 0) + 1
        return Payload({**payload.tensors, "count": torch.tensor(SEEN["count"])}, payload.meta)


class KeepsBytes(Mean):
    def start(self, state, ctx):
        state.memory["state"] = b"3"
        return super().start(state, ctx)


class WritesToPublished(Mean):
    def start(self, state, ctx):
        for payload in state.published.values():
            for tensor in payload.tensors.values():
                tensor.zero_()
        return super().start(state, ctx)


class NeedsPublished(Mean):
    def start(self, state, ctx):
        for payload in state.published.values():
            payload.tensors["never there"]
        return super().start(state, ctx)


class NamesOne(Last):
    takes = "one"

    def start(self, state, ctx):
        return NamesOne()

    def add(self, message) -> None:
        if hasattr(self, "message"):
            raise RunError(f"two messages; the second is from client {message.sender}")
        self.message = message


class TakesFew(Mean):
    takes = "few"


@dataclass(frozen=True)
class NoStart(Aggregator):
    def merge(self, messages):
        return messages[0]


@dataclass(frozen=True)
class TrimsAll(Aggregator):
    """Drops the smallest and the largest value, so that nothing is left of two."""

    streaming = False

    def start(self, state, ctx):
        return Trimmed()


class Trimmed(Accumulator):
    def __init__(self):
        self.agreement, self.messages = Agreement(), []

    def add(self, message) -> None:
        self.agreement.add(message)
        self.messages.append(message.payload.tensors)

    def result(self):
        layout = self.agreement.layout
        return Payload({name: self.middle(name).to(layout[name][0]) for name in layout}, self.agreement.meta)

    def middle(self, name):
        return torch.stack([tensors[name] for tensors in self.messages]).double().sort(dim=0).values[1:-1].mean(dim=0)


class Swaps(After):
    def change(self, payload):
        swapped = {"fc.bias": payload.tensors["fc.scale"], "fc.scale": payload.tensors["fc.bias"]}
        return Payload({**payload.tensors, **swapped}, payload.meta)


class UnreadChannel(After):
    def change(self, payload):
        return {"": payload, "nobody": payload}


class MovesClients(After):
    """Clients read a new channel in each round, which holds nothing yet."""

    def start(self, state, ctx):
        self.__dict__["round"] = ctx.round
        return super().start(state, ctx)

    def change(self, payload):
        return {str(self.__dict__["round"]): payload}

    def channel(self, state, client, ctx):
        return str(ctx.round)


class EmptiesChannels(Mean):
    """Publishes nothing, in place of leaving the channel out, where no client sent a message."""

    def channel(self, state, client, ctx):
        return ctx.backbones[client]

    def start(self, state, ctx):
        inner = {name: super(EmptiesChannels, self).start(state, ctx) for name in set(ctx.backbones)}
        senders = dict.fromkeys(inner, 0)

        class ByBackbone(Accumulator):
            def add(self, message) -> None:
                inner[ctx.backbones[message.sender]].add(message)
                senders[ctx.backbones[message.sender]] += 1

            def result(self):
                return {name: one.result() if senders[name] else Payload({}) for name, one in inner.items()}

        return ByBackbone()


class NumbersChannels(After):
    def channel(self, state, client, ctx):
        return 0

    def change(self, payload):
        return {0: payload}


class BuildsUndeclared(Mean):
    """Builds a network, but does not declare that it trains."""

    def start(self, state, ctx):
        ctx.build(ctx.backbones[0])
        return super().start(state, ctx)


class KeepsUndeclared(Mean):
    def setup(self, state, ctx):
        state.modules["layer"] = torch.nn.Linear(1, 1)


@dataclass(frozen=True)
class Trains(Aggregator):
    """A correct aggregator that distills: it trains the mean of the clients' networks, and keeps it."""

    streaming = False
    trains = True

    def setup(self, state, ctx):
        state.models["student"] = ctx.build(ctx.backbones[0])
        state.memory["rounds"] = 0

    def start(self, state, ctx):
        return Training(self, state, ctx)

    def noise(self, net, state, ctx):
        return torch.randn(1, generator=ctx.generator("noise"))


class Training(Accumulator):
    def __init__(self, part, state, ctx):
        self.part, self.state, self.ctx = part, state, ctx
        self.mean = Mean().start(state, ctx)

    def add(self, message) -> None:
        self.mean.add(message)

    def result(self):
        student = self.state.models["student"]
        self.mean.result().load_into(student)
        with torch.no_grad():
            for weights in student.parameters():
                weights.add_(self.part.noise(student, self.state, self.ctx), alpha=1e-3)
        self.state.memory["rounds"] += 1
        return Payload.of(student)


class TrainsUnseeded(Trains):
    def noise(self, net, state, ctx):
        return torch.from_numpy(np.random.default_rng().normal(size=1).astype(np.float32))


class TrainsFromTorch(Trains):
    def noise(self, net, state, ctx):
        return torch.randn(1)


class TrainsOnTheModel(Trains):
    """Counts rounds on the network, where they are not saved."""

    def noise(self, net, state, ctx):
        net.rounds = getattr(net, "rounds", 0) + 1
        return torch.tensor([float(net.rounds)])


class ServesItsState(Trains):
    """Trains on when it predicts."""

    def predictors(self, state, ctx):
        with torch.no_grad():
            for weights in state.models["student"].parameters():
                weights.add_(1)
        return dict(state.models)


class NobodysTrainer(Trains):
    """No method uses it."""


TRAINERS = (TrainsUnseeded, TrainsFromTorch, TrainsOnTheModel, ServesItsState)
DEFECTS = {
    "d-last": (Last, "order_hardly_matters", "in another order"),
    "d-last-names-nobody": (Last, "mismatched_names_name_both_senders", "DID NOT RAISE"),
    "d-sum": (Sum, "scale_of_num_examples_is_irrelevant[0.001]", "times as large"),
    "d-single": (Single, "equal_payloads_give_that_payload", "equal payloads gave another one"),
    "d-divides-by-weight": (DividesByWeight, "message_without_examples_does_no_harm", "NaN"),
    "d-hoards": (Hoards, "holds_one_message_at_a_time", "are still in memory"),
    "d-no-meta": (NoMeta, "equal_payloads_give_that_payload", "keep what they share"),
    "d-drops-buffers": (DropsBuffers, "equal_payloads_give_that_payload", "return every tensor in its own form"),
    "d-all-in-double": (AllInDouble, "equal_payloads_give_that_payload", "return every tensor in its own form"),
    "d-draws-numpy": (DrawsNumpy, "global_state_is_untouched", "global generator of numpy.random"),
    "d-reads-the-month": (ReadsTheMonth, "depends_on_nothing_outside[clock]", "another clock"),
    "d-writes-to-messages": (WritesToMessages, "messages_are_untouched", "message was changed"),
    "d-counts-aggregations": (CountsAggregations, "same_messages_same_bits", "gave other bits"),
    "d-keeps-bytes": (KeepsBytes, "state_survives_saving", "is of type bytes"),
    "d-writes-to-published": (
        WritesToPublished,
        "published_payloads_are_untouched[something published]",
        "what was published before was changed",
    ),
    "d-needs-published": (NeedsPublished, "same_messages_same_bits", "never there"),
    "d-names-one": (NamesOne, "second_message_is_refused", "does not name client 11"),
    "d-takes-few": (TakesFew, "is_a_value", "takes = 'few'"),
    "d-trims-all": (TrimsAll, "few_messages_are_aggregated_or_refused[2]", "no more than 2 of the clients sent"),
    "d-swaps-tensors": (Swaps, "equal_payloads_give_that_payload", "under its own name"),
    "d-no-start": (NoStart, "loads", "defines no 'start'"),
    "d-unread-channel": (UnreadChannel, "every_channel_is_read", "which no client reads"),
    "d-moves-clients": (MovesClients, "channel_without_news_keeps_its_payload", "clients have to stay with it"),
    "d-empties-channels": (
        EmptiesChannels,
        "channel_without_news_keeps_its_payload",
        "leave a channel without messages out",
    ),
    "d-numbers-channels": (NumbersChannels, "every_channel_is_read", "expected strings"),
    "d-builds-undeclared": (BuildsUndeclared, "depends_on_nothing_outside[clock]", "no network can be built here"),
    "d-keeps-undeclared": (KeepsUndeclared, "state_survives_saving", "declare trains = True"),
    "d-trains-unseeded": (TrainsUnseeded, "same_messages_same_bits", "gave other bits"),
    "d-trains-from-torch": (TrainsFromTorch, "global_state_is_untouched", "global generator of torch"),
    "d-trains-on-the-model": (TrainsOnTheModel, "state_survives_saving", "was saved and loaded"),
    "d-serves-its-state": (ServesItsState, "predictors_classify", "predictors changed the state"),
    "d-nobodys-trainer": (NobodysTrainer, "depends_on_nothing_outside[clock]", "no method uses the aggregator"),
}


@dataclass(frozen=True)
class Weights(LocalUpdate):
    """A correct update, which sends what the trainers take."""

    def train(self, client, received, ctx):
        net = load_global(received, client.backbone, ctx)
        return Update(Payload.of(net), len(client.train), fit(net, client.train, ctx))

    def global_predictors(self, received, backbone, ctx):
        return {"global": load_global(received, backbone, ctx)}


@hookimpl
def fedbench_register_aggregators():
    return {name: defect for name, (defect, _) in DEFECTS.items()}


@hookimpl
def fedbench_register_local_updates():
    return {"d-weights": Weights}


@hookimpl
def fedbench_register_methods():
    trainers = [name for name, (defect, _) in DEFECTS.items() if defect in TRAINERS]
    return {f"{name}-method": Method("d-weights", aggregator=name) for name in trainers}
