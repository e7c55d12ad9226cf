"""Aggregators that each do one thing wrong: {name: (class, a word of the message that says what)}."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from fedbench_core.api import Accumulator, Aggregator, Message, Payload, RunError, hookimpl
from fedbench_core.learning import Agreement
from fedbench_core.parts.aggregators import Mean

SEEN = {}


@dataclass
class Last(Aggregator, Accumulator):
    """Keeps the last message, in itself: wrong in most ways there are."""

    def open(self, ctx, memory, standing):
        return self

    def add(self, message) -> None:
        self.message = message

    def close(self):
        return self.message.payload


class After(Mean):
    """A sound mean, of which a subclass changes what comes out."""

    def open(self, ctx, memory, standing):
        merge, change = super().open(ctx, memory, standing), self.change

        class Changed(Accumulator):
            def add(self, message) -> None:
                merge.add(message)

            def close(self):
                return change(merge.close())

        return Changed()

    def change(self, payload):
        raise NotImplementedError


class Before(Mean):
    """A sound mean, of which a subclass changes what goes in."""

    def open(self, ctx, memory, standing):
        merge, change = super().open(ctx, memory, standing), self.change

        class Changed(Accumulator):
            def add(self, message) -> None:
                merge.add(change(message))

            def close(self):
                return merge.close()

        return Changed()

    def change(self, message):
        raise NotImplementedError


class Hoards(Mean):
    """Keeps all messages until the end, and does not say so."""

    def open(self, ctx, memory, standing):
        merge, messages = super().open(ctx, memory, standing), []

        class All(Accumulator):
            def add(self, message) -> None:
                messages.append(message)

            def close(self):
                for message in messages:
                    merge.add(message)
                return merge.close()

        return All()


class Single(Last):
    """A weighted mean in single precision that knows no error."""

    def open(self, ctx, memory, standing):
        fold = type(self)()
        fold.total = 0.0
        return fold

    def add(self, message) -> None:
        self.sums = {
            name: message.weight * tensor + (self.sums[name] if self.total else 0)
            for name, tensor in message.payload.tensors.items()
        }
        self.total += message.weight
        self.message = message

    def close(self):
        of = self.message.payload.tensors
        tensors = {name: (added / self.total).to(of[name].dtype) for name, added in self.sums.items()}
        return Payload(tensors, self.message.payload.meta)


class Sum(Single):
    def close(self):
        return Payload(self.sums, self.message.payload.meta)


class DividesByWeight(Mean):
    """A running mean that divides by the weight so far, be it zero."""

    def open(self, ctx, memory, standing):
        merge, total = super().open(ctx, memory, standing), torch.zeros((), dtype=torch.float64)

        class Partition(Accumulator):
            def add(self, message) -> None:
                total.add_(message.weight)
                share = message.weight / total
                tensors = {
                    n: t * share / share if t.is_floating_point() else t for n, t in message.payload.tensors.items()
                }
                merge.add(Message(message.sender, Payload(tensors, message.payload.meta), message.weight or 1e-9))

            def close(self):
                return merge.close()

        return Partition()


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


class CountsMerges(After):
    """Keeps how often it merged in the module."""

    def change(self, payload):
        SEEN["merges"] = SEEN.get("merges", 0) + 1
        return Payload({**payload.tensors, "merges": torch.tensor(SEEN["merges"])}, payload.meta)


class KeepsBytes(Mean):
    def open(self, ctx, memory, standing):
        memory["state"] = b"3"
        return super().open(ctx, memory, standing)


class WritesToStanding(Mean):
    def open(self, ctx, memory, standing):
        for tensor in (standing or Payload({})).tensors.values():
            tensor.zero_()
        return super().open(ctx, memory, standing)


class NeedsStanding(Mean):
    def open(self, ctx, memory, standing):
        if standing is not None and "never there" not in standing.tensors:
            raise KeyError("never there")
        return super().open(ctx, memory, standing)


class NamesOne(Last):
    takes = "one"

    def open(self, ctx, memory, standing):
        return NamesOne()

    def add(self, message) -> None:
        if hasattr(self, "message"):
            raise RunError(f"two messages; the second is from client {message.sender}")
        self.message = message


class TakesFew(Mean):
    takes = "few"


@dataclass(frozen=True)
class NoMerge(Aggregator):
    def merge(self, messages):
        return messages[0]


@dataclass(frozen=True)
class TrimsAll(Aggregator):
    """Leaves the least and the greatest out, and of two messages nothing."""

    streaming = False

    def open(self, ctx, memory, standing):
        return Trimmed()


class Trimmed(Accumulator):
    def __init__(self):
        self.agreement, self.messages = Agreement(), []

    def add(self, message) -> None:
        self.agreement.add(message)
        self.messages.append(message.payload.tensors)

    def close(self):
        layout = self.agreement.layout
        return Payload({name: self.middle(name).to(layout[name][0]) for name in layout}, self.agreement.meta)

    def middle(self, name):
        return torch.stack([tensors[name] for tensors in self.messages]).double().sort(dim=0).values[1:-1].mean(dim=0)


class Swaps(After):
    def change(self, payload):
        swapped = {"fc.bias": payload.tensors["fc.scale"], "fc.scale": payload.tensors["fc.bias"]}
        return Payload({**payload.tensors, **swapped}, payload.meta)


DEFECTS = {
    "d-last": (Last, "in another order"),
    "d-last-names-nobody": (Last, "DID NOT RAISE"),
    "d-sum": (Sum, "times as large"),
    "d-single": (Single, "equal payloads gave another one"),
    "d-divides-by-weight": (DividesByWeight, "NaN"),
    "d-hoards": (Hoards, "are still in memory"),
    "d-no-meta": (NoMeta, "keep what all share"),
    "d-drops-buffers": (DropsBuffers, "return every tensor in its own form"),
    "d-all-in-double": (AllInDouble, "return every tensor in its own form"),
    "d-draws-numpy": (DrawsNumpy, "global generator of numpy.random"),
    "d-reads-the-month": (ReadsTheMonth, "another clock"),
    "d-writes-to-messages": (WritesToMessages, "message was changed"),
    "d-counts-merges": (CountsMerges, "gave other bits"),
    "d-keeps-bytes": (KeepsBytes, "is of type bytes"),
    "d-writes-to-standing": (WritesToStanding, "what lay at the place was changed"),
    "d-needs-standing": (NeedsStanding, "never there"),
    "d-names-one": (NamesOne, "does not name client 11"),
    "d-takes-few": (TakesFew, "takes = 'few'"),
    "d-trims-all": (TrimsAll, "no more than 2 of the clients wrote"),
    "d-swaps-tensors": (Swaps, "under its own name"),
    "d-no-merge": (NoMerge, "defines no 'open'"),
}


@hookimpl
def fedbench_register_aggregators():
    return {name: defect for name, (defect, _) in DEFECTS.items()}
