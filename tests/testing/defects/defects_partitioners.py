"""Partitioners that each do one thing wrong: {name: (class, the case that shows it, a part of its message)}."""

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
    "d-overlaps": (
        Overlaps,
        "parts_are_disjoint_complete_and_not_empty[eight classes-2]",
        "belong to more than one client",
    ),
    "d-repeats": (
        Repeats,
        "parts_are_disjoint_complete_and_not_empty[eight classes-1]",
        "the same image more than once",
    ),
    "d-loses": (Loses, "parts_are_disjoint_complete_and_not_empty[eight classes-13]", "images distributed"),
    "d-invents": (Invents, "parts_are_disjoint_complete_and_not_empty[eight classes-1]", "does not exist"),
    "d-leaves-one-empty": (
        LeavesOneEmpty,
        "parts_are_disjoint_complete_and_not_empty[eight classes-2]",
        "a client without images",
    ),
    "d-one-too-few": (
        OneTooFew,
        "parts_are_disjoint_complete_and_not_empty[eight classes-2]",
        "return one array per client",
    ),
    "d-unsorted": (Unsorted, "parts_are_disjoint_complete_and_not_empty[eight classes-1]", "not sorted"),
    "d-wrong-dtype": (WrongDtype, "parts_are_disjoint_complete_and_not_empty[eight classes-1]", "expected int64"),
    "d-lists": (Lists, "parts_are_disjoint_complete_and_not_empty[eight classes-1]", "expected an array"),
    "d-writes-to-labels": (WritesToLabels, "depends_on_nothing_outside[clock]", "read-only"),
    "d-own-generator": (OwnGenerator, "same_generator_same_split", "the same labels and generator"),
    "d-global-generator": (GlobalGenerator, "draws_from_its_generator_only", "global generator of numpy.random"),
    "d-from-the-clock": (FromTheClock, "depends_on_nothing_outside[clock]", "another clock"),
    "d-remembers-its-generator": (Remembers, "same_generator_same_split", "keep nothing"),
    "d-reads-sites": (ReadsSites, "depends_on_labels_only", "with and without sites"),
    "d-never-refuses": (NeverRefuses, "more_clients_than_images_is_refused", "DID NOT RAISE"),
    "d-refuses-all": (
        RefusesAll,
        "parts_are_disjoint_complete_and_not_empty[eight classes-4]",
        "refuses 4 clients with 400 images",
    ),
    "d-tries-for-ever": (TriesForEver, "more_clients_than_images", "no end after"),
    "d-seeds-its-own": (SeedsItsOwn, "another_generator_another_split", "it creates one of its own"),
    "d-needs-sites": (NeedsSites, "unknown_sites_are_refused", "has no len()"),
    "d-by-something": (BySomething, "is_a_value", "by = 'hospital'"),
}


@hookimpl
def fedbench_register_partitioners():
    return {name: defect for name, (defect, _) in DEFECTS.items()}
