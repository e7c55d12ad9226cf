"""Topologies that each do one thing wrong: {name: (class, a word of the message that says what)}."""

import itertools
import random
import time
from dataclasses import dataclass

import numpy as np

from fedbench_core.api import SERVER, Topology, Turn, hookimpl
from fedbench_core.parts.topologies import Star

SEEN = {}


class ForeignHome(Star):
    def home(self, client):
        return client + 1


class WanderingHome(Star):
    def home(self, client):
        SEEN["asked"] = SEEN.get("asked", 0) + 1
        return client if SEEN["asked"] % 2 else SERVER


class AbsentToo(Star):
    """Plans for everyone, whoever is there."""

    def plan(self, present, clients, ctx):
        return [[Turn(client, (SERVER,)) for client in range(clients)]]


class Twice(Star):
    def plan(self, present, clients, ctx):
        return [[Turn(client, (SERVER,)) for client in (*present, *present)]]


class Nowhere(Star):
    def plan(self, present, clients, ctx):
        return [[Turn(client, (99,)) for client in present]]


class TwoMessages(Star):
    def plan(self, present, clients, ctx):
        return [[Turn(client, (SERVER, SERVER)) for client in present]]


class Silent(Star):
    def plan(self, present, clients, ctx):
        return [[Turn(client, ()) for client in present]]


class Tuples(Star):
    def plan(self, present, clients, ctx):
        return [[(client, (SERVER,)) for client in present]]


class Endless(Star):
    def plan(self, present, clients, ctx):
        return itertools.repeat([Turn(client, (SERVER,)) for client in present])


@dataclass(frozen=True)
class Alone(Topology):
    """Everyone hears and writes at the own inbox alone."""

    def home(self, client):
        return client

    def plan(self, present, clients, ctx):
        return [[Turn(client, (client,)) for client in present]]


class DrawsUnseeded(Star):
    def plan(self, present, clients, ctx):
        order = np.random.default_rng().permutation(1000)
        return [[Turn(client, (SERVER,)) for client in order if client in present]]


class DrawsFromPython(Star):
    def plan(self, present, clients, ctx):
        random.random()  # noqa: S311  # this is the fault
        return super().plan(present, clients, ctx)


class Alternates(Star):
    """Every second plan goes the other way round."""

    def plan(self, present, clients, ctx):
        SEEN["plans"] = SEEN.get("plans", 0) + 1
        steps = [[Turn(client, (SERVER,))] for client in present]
        return steps if SEEN["plans"] % 2 else steps[::-1]


class ByTheYear(Star):
    def plan(self, present, clients, ctx):
        steps = [[Turn(client, (SERVER,))] for client in present]
        return steps if time.gmtime().tm_year % 2 else steps[::-1]


class HalfOld(Star):
    def plan(self, present, ctx):
        return super().plan(present, len(present), ctx)


class NumpyNumbers(Star):
    """What numpy draws or sorts are no ints, and cannot be written down."""

    def plan(self, present, clients, ctx):
        return [[Turn(client, (SERVER,)) for client in np.array(present)]] if len(present) else []


class LostAtLast(Star):
    """Forgets in the last round that numbers start at 0."""

    def plan(self, present, clients, ctx):
        place = clients if ctx.round == ctx.rounds - 1 else SERVER
        return [[Turn(client, (place,)) for client in present]]


DEFECTS = {
    "d-foreign-home": (ForeignHome, "home is 1"),
    "d-wandering-home": (WanderingHome, "home changed"),
    "d-absent-too": (AbsentToo, "plan for those alone"),
    "d-nobody-there": (AbsentToo, "give an empty plan"),
    "d-twice": (Twice, "turns twice in step 0"),
    "d-nowhere": (Nowhere, "places are -1 (server)"),
    "d-two-messages": (TwoMessages, "names a place twice"),
    "d-silent": (Silent, "nothing is written"),
    "d-tuples": (Tuples, "expected Turns"),
    "d-endless": (Endless, "does it end?"),
    "d-alone": (Alone, "have received nothing of"),
    "d-draws-unseeded-plans": (DrawsUnseeded, "the same context gave another plan"),
    "d-draws-from-python": (DrawsFromPython, "global generator of random"),
    "d-alternates": (Alternates, "the same context gave another plan"),
    "d-by-the-year": (ByTheYear, "another clock"),
    "d-numpy-numbers": (NumpyNumbers, "of type int64; expected int"),
    "d-lost-at-last": (LostAtLast, "writes to (6,)"),
    "d-half-old": (HalfOld, "does not take present, clients, ctx"),
}


@hookimpl
def fedbench_register_topologies():
    return {name: defect for name, (defect, _) in DEFECTS.items()}
