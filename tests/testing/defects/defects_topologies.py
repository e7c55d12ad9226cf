"""Topologies that each do one thing wrong: {name: (class, the case that shows it, a part of its message)}."""

import itertools
import random
import time
from dataclasses import dataclass

import numpy as np

from fedbench_core.api import SERVER, Phase, Topology, Turn, hookimpl
from fedbench_core.parts.topologies import Star

SEEN = {}


class ForeignSource(Star):
    def receives_from(self, client):
        return client + 1


class WanderingSource(Star):
    def receives_from(self, client):
        SEEN["asked"] = SEEN.get("asked", 0) + 1
        return client if SEEN["asked"] % 2 else SERVER


class AllClients(Star):
    """Plans turns of all clients, participating or not."""

    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client) for client in range(clients)])]


class Twice(Star):
    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client) for client in (*participating, *participating)])]


class Nowhere(Star):
    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client, (99,)) for client in participating])]


class SameNodeTwice(Star):
    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client, (SERVER, SERVER)) for client in participating])]


class SendsNothing(Star):
    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client, ()) for client in participating])]


class Tuples(Star):
    def plan(self, participating, clients, ctx):
        return [Phase([(client, (SERVER,)) for client in participating])]


class Endless(Star):
    def plan(self, participating, clients, ctx):
        return itertools.repeat(Phase([Turn(client) for client in participating]))


@dataclass(frozen=True)
class Alone(Topology):
    """Each client sends to its own inbox only."""

    def receives_from(self, client):
        return client

    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client, (client,), client) for client in participating])]


class DrawsUnseeded(Star):
    def plan(self, participating, clients, ctx):
        order = np.random.default_rng().permutation(1000)
        return [Phase([Turn(client) for client in order if client in participating])]


class DrawsFromPython(Star):
    def plan(self, participating, clients, ctx):
        random.random()  # noqa: S311  # this is the fault
        return super().plan(participating, clients, ctx)


class Alternates(Star):
    """Every second plan is in reverse order."""

    def plan(self, participating, clients, ctx):
        SEEN["plans"] = SEEN.get("plans", 0) + 1
        phases = [Phase([Turn(client)]) for client in participating]
        return phases if SEEN["plans"] % 2 else phases[::-1]


class ByTheYear(Star):
    def plan(self, participating, clients, ctx):
        phases = [Phase([Turn(client)]) for client in participating]
        return phases if time.gmtime().tm_year % 2 else phases[::-1]


class HalfOld(Star):
    def plan(self, participating, ctx):
        return super().plan(participating, len(participating), ctx)


class NumpyNumbers(Star):
    """Numpy's integers, which JSON does not know."""

    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client) for client in np.array(participating)])] if len(participating) else []


class LostAtLast(Star):
    """Sends to a node that does not exist, in the last round."""

    def plan(self, participating, clients, ctx):
        node = clients if ctx.round == ctx.rounds - 1 else SERVER
        return [Phase([Turn(client, (node,)) for client in participating])]


class ForeignInbox(Star):
    """Receives from another client's inbox."""

    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client, (client,), (client + 1) % clients) for client in participating])]


class Lists(Star):
    """A plan of contract 1."""

    def plan(self, participating, clients, ctx):
        return [[Turn(client) for client in participating]]


class SendsToAbsent(Star):
    def plan(self, participating, clients, ctx):
        return [Phase([Turn(client, (SERVER, (client + 1) % clients)) for client in participating])]


DEFECTS = {
    "d-foreign-source": (ForeignSource, "source_is_a_node", "receives from 1"),
    "d-wandering-source": (WanderingSource, "source_is_a_node", "the source of client 0 changed"),
    "d-all-clients": (AllClients, "turns_are_valid[three]", "plan for those only"),
    "d-all-clients-of-none": (AllClients, "no_client_participates", "return an empty plan"),
    "d-twice": (Twice, "turns_are_valid[all]", "two turns in phase 0"),
    "d-nowhere": (Nowhere, "turns_are_valid[all]", "nodes are -1 (server)"),
    "d-same-node-twice": (SameNodeTwice, "turns_are_valid[all]", "names a node twice"),
    "d-sends-nothing": (SendsNothing, "something_is_sent[all]", "nothing is sent"),
    "d-tuples": (Tuples, "turns_are_valid[all]", "expected Turns"),
    "d-lists-of-turns": (Lists, "depends_on_nothing_outside[clock]", "expected Phase"),
    "d-endless": (Endless, "depends_on_nothing_outside[clock]", "does it end?"),
    "d-alone": (Alone, "information_reaches_every_client", "have received nothing of"),
    "d-foreign-inbox": (ForeignInbox, "turns_are_valid[all]", "its own inbox, or None"),
    "d-sends-to-absent": (SendsToAbsent, "turns_are_valid[three]", "declare reaches_absent"),
    "d-draws-unseeded-plans": (DrawsUnseeded, "same_context_same_plan[all]", "the same context gave another plan"),
    "d-draws-from-python": (DrawsFromPython, "global_state_is_untouched", "global generator of random"),
    "d-alternates": (Alternates, "same_context_same_plan[all]", "the same context gave another plan"),
    "d-by-the-year": (ByTheYear, "depends_on_nothing_outside[clock]", "another clock"),
    "d-numpy-numbers": (NumpyNumbers, "turns_are_valid[all]", "of type int64; expected int"),
    "d-lost-at-last": (LostAtLast, "turns_are_valid[all]", "sends to (6,)"),
    "d-half-old": (HalfOld, "loads", "does not take participating, clients, ctx"),
}


@hookimpl
def fedbench_register_topologies():
    return {name: defect for name, (defect, _) in DEFECTS.items()}
