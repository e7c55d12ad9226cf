"""Partitioners that each do one thing wrong: {name: (class, a word of the message that says what)}."""

import time
from dataclasses import dataclass

import numpy as np

from fedbench_core.api import Partitioner, RequestError, hookimpl
from fedbench_core.parts.partitioners import Iid

SEEN = {}


class Overlaps(Iid):
    def split(self, labels, clients, rng):
        return [np.arange(len(labels))] * clients


class Repeats(Iid):
    """Draws with replacement."""

    def split(self, labels, clients, rng):
        return [np.sort(rng.choice(part, len(part))) for part in super().split(labels, clients, rng)]


class Loses(Iid):
    def split(self, labels, clients, rng):
        size = len(labels) // clients
        order = rng.permutation(len(labels))
        return [np.sort(order[number * size : (number + 1) * size]) for number in range(clients)]


class Invents(Iid):
    def split(self, labels, clients, rng):
        return [part + 1 for part in super().split(labels, clients, rng)]


class LeavesOneEmpty(Iid):
    def split(self, labels, clients, rng):
        return [*super().split(labels, max(1, clients - 1), rng), np.empty(0, dtype=np.int64)][:clients]


class OneTooFew(Iid):
    def split(self, labels, clients, rng):
        return super().split(labels, max(1, clients - 1), rng)


class Unsorted(Iid):
    def split(self, labels, clients, rng):
        return [part[::-1] for part in super().split(labels, clients, rng)]


class WrongDtype(Iid):
    def split(self, labels, clients, rng):
        return [part.astype(np.int32) for part in super().split(labels, clients, rng)]


class Lists(Iid):
    def split(self, labels, clients, rng):
        return [part.tolist() for part in super().split(labels, clients, rng)]


class WritesToLabels(Iid):
    def split(self, labels, clients, rng):
        labels.classes.sort()
        return super().split(labels, clients, rng)


class OwnGenerator(Iid):
    def split(self, labels, clients, rng):
        return super().split(labels, clients, np.random.default_rng())


class GlobalGenerator(Iid):
    def split(self, labels, clients, rng):
        np.random.shuffle(np.arange(3))  # noqa: NPY002  # this is the fault
        return super().split(labels, clients, rng)


class FromTheClock(Iid):
    def split(self, labels, clients, rng):
        return super().split(labels, clients, np.random.default_rng(int(time.time() // 86_400)))


class Remembers(Iid):
    """Continues with the generator of the last split."""

    def split(self, labels, clients, rng):
        return super().split(labels, clients, SEEN.setdefault("rng", rng))


class ReadsSites(Iid):
    def split(self, labels, clients, rng):
        return super().split(labels, clients, rng if labels.sites is None else np.random.default_rng(labels.sites))


@dataclass(frozen=True)
class NeverRefuses(Partitioner):
    def split(self, labels, clients, rng):
        return np.array_split(np.arange(len(labels)), clients)


class RefusesAll(Iid):
    def split(self, labels, clients, rng):
        raise RequestError("not today, thank you")


class TriesForEver(Iid):
    """Draws again until all clients have an image."""

    def split(self, labels, clients, rng):
        owners = np.zeros(0)
        while len(np.unique(owners)) < clients:
            owners = rng.integers(0, clients, len(labels))
        return [np.flatnonzero(owners == client) for client in range(clients)]


class BySomething(Iid):
    by = "hospital"


class SeedsItsOwn(Iid):
    """The same parts for every seed."""

    def split(self, labels, clients, rng):
        return super().split(labels, clients, np.random.default_rng(0))


class NeedsSites(Iid):
    by = "sites"

    def split(self, labels, clients, rng):
        if len(labels.sites) < clients:
            raise RequestError("more clients than images")
        return super().split(labels, clients, rng)


DEFECTS = {
    "d-overlaps": (Overlaps, "belong to more than one client"),
    "d-repeats": (Repeats, "the same image more than once"),
    "d-loses": (Loses, "images distributed"),
    "d-invents": (Invents, "does not exist"),
    "d-leaves-one-empty": (LeavesOneEmpty, "a client without images"),
    "d-one-too-few": (OneTooFew, "return one array per client"),
    "d-unsorted": (Unsorted, "not sorted"),
    "d-wrong-dtype": (WrongDtype, "expected int64"),
    "d-lists": (Lists, "expected an array"),
    "d-writes-to-labels": (WritesToLabels, "read-only"),
    "d-own-generator": (OwnGenerator, "the same labels and generator"),
    "d-global-generator": (GlobalGenerator, "global generator of numpy.random"),
    "d-from-the-clock": (FromTheClock, "another clock"),
    "d-remembers-its-generator": (Remembers, "keep nothing"),
    "d-reads-sites": (ReadsSites, "with and without sites"),
    "d-never-refuses": (NeverRefuses, "DID NOT RAISE"),
    "d-refuses-all": (RefusesAll, "refuses 4 clients with 400 images"),
    "d-tries-for-ever": (TriesForEver, "no end after"),
    "d-seeds-its-own": (SeedsItsOwn, "it creates one of its own"),
    "d-needs-sites": (NeedsSites, "has no len()"),
    "d-by-something": (BySomething, "by = 'hospital'"),
}


@hookimpl
def fedbench_register_partitioners():
    return {name: defect for name, (defect, _) in DEFECTS.items()}
