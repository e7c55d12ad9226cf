# (a faulty part has the signature of a sound one)
import random
from dataclasses import dataclass

import numpy as np
import pytest

from fedbench_core.api import HUB, Topology, Visit
from fedbench_core.parts.topologies import Star
from fedbench_core.testing import TopologyContract


@dataclass(frozen=True)
class Planned(Topology):
    """The same step whoever is present, or what a subclass says."""

    def home(self, client):
        return client

    def plan(self, present, clients, ctx):
        return [[Visit(client, (client,)) for client in range(clients)]]


class Twice(Star):
    def plan(self, present, clients, ctx):
        return [[Visit(client, (HUB,)) for client in (*present, *present)]]


class Nowhere(Star):
    def plan(self, present, clients, ctx):
        return [[Visit(client, (99,)) for client in present]]


class TwoLetters(Star):
    def plan(self, present, clients, ctx):
        return [[Visit(client, (HUB, HUB)) for client in present]]


class Silent(Star):
    def plan(self, present, clients, ctx):
        return [[Visit(client, ()) for client in present]]


class Shuffles(Star):
    def plan(self, present, clients, ctx):
        return [[Visit(client, (HUB,)) for client in np.random.default_rng().permutation(1000) if client in present]]


class ShufflesGlobally(Star):
    def plan(self, present, clients, ctx):
        return [[Visit(client, (HUB,)) for client in random.sample(list(present), len(present))]]


class ForeignHome(Star):
    def home(self, client):
        return client + 1


@pytest.mark.parametrize(
    ("faulty", "case", "arguments", "says"),
    [
        (ForeignHome, "test_homes_are_places", [], "client 0's home is 1"),
        (Planned, "test_visits_are_valid", [[1, 4]], r"only \[1, 4\] are present"),
        (Twice, "test_visits_are_valid", [[1, 4]], "visits twice in step 0"),
        (Nowhere, "test_visits_are_valid", [[1, 4]], r"places are -1 \(hub\) and 0..5"),
        (TwoLetters, "test_visits_are_valid", [[1, 4]], "names a place twice"),
        (Silent, "test_something_is_written", [[1, 4]], "nothing is written"),
        (Shuffles, "test_same_context_same_plan", [[0, 1, 2, 3, 4, 5]], "the same context gave another plan"),
        (Planned, "test_nobody_present", [], "give an empty plan"),
        (Planned, "test_news_reaches_everyone", [], "have heard nothing of"),
        (ShufflesGlobally, "test_global_randomness_is_untouched", [], "global generator of random"),
    ],
)
def test_topology_faults(assert_caught, faulty, case, arguments, says) -> None:
    assert_caught(TopologyContract, faulty, case, *arguments, says=says)


def test_a_topology_may_declare_that_it_keeps_clients_apart() -> None:
    apart = type("Apart", (Planned,), {"connected": False})()
    with pytest.raises(pytest.skip.Exception, match="declares"):
        TopologyContract().test_news_reaches_everyone(apart)
