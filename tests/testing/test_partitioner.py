# (a faulty part has the signature of a sound one)
import numpy as np
import pytest

from fedbench_core.api import Partitioner, RequestError
from fedbench_core.parts.partitioners import Iid
from fedbench_core.testing import PartitionerContract


class Overlaps(Partitioner):
    def split(self, labels, clients, rng):
        return [np.arange(len(labels))] * clients


class Drops(Iid):
    def split(self, labels, clients, rng):
        return [share[1:] for share in super().split(labels, clients, rng)]


class LeavesOneEmpty(Iid):
    def split(self, labels, clients, rng):
        return [*super().split(labels, clients - 1, rng), np.empty(0, dtype=np.int64)]


class Unsorted(Iid):
    def split(self, labels, clients, rng):
        return [share[::-1] for share in super().split(labels, clients, rng)]


class WrongDtype(Iid):
    def split(self, labels, clients, rng):
        return [share.astype(np.int32) for share in super().split(labels, clients, rng)]


class OwnGenerator(Iid):
    def split(self, labels, clients, rng):
        return super().split(labels, clients, np.random.default_rng())


class GlobalGenerator(Iid):
    def split(self, labels, clients, rng):
        return super().split(labels, clients, np.random.default_rng(np.random.randint(9)))  # noqa: NPY002  # this is the fault


class ReadsSites(Iid):
    def split(self, labels, clients, rng):
        return super().split(labels, clients, rng if labels.sites is None else np.random.default_rng(labels.sites))


class NeverRefuses(Partitioner):
    def split(self, labels, clients, rng):
        return np.array_split(np.arange(len(labels)), clients)


class RefusesAll(Partitioner):
    def split(self, labels, clients, rng):
        raise RequestError("not today, thank you")


SHARES = "test_shares_are_disjoint_complete_and_not_empty"


@pytest.mark.parametrize(
    ("faulty", "case", "arguments", "says"),
    [
        (Overlaps, SHARES, ["one class", 2], "belong to more than one client"),
        (Drops, SHARES, ["one class", 2], "98 of 100 images dealt out"),
        (LeavesOneEmpty, SHARES, ["one class", 4], "a client without images"),
        (Unsorted, SHARES, ["one class", 2], "not sorted"),
        (WrongDtype, SHARES, ["one class", 2], "expected int64"),
        (RefusesAll, SHARES, ["eight classes", 4], "refuses 4 clients with 400 images"),
        (OwnGenerator, "test_same_generator_same_split", [], "the same labels and generator"),
        (GlobalGenerator, "test_draws_from_its_generator_only", [], "global generator of numpy.random"),
        (ReadsSites, "test_depends_on_labels_only", [], "with and without sites"),
        (NeverRefuses, "test_more_clients_than_images_is_refused", [], "DID NOT RAISE"),
    ],
)
def test_partitioner_faults(assert_caught, faulty, case, arguments, says) -> None:
    assert_caught(PartitionerContract, faulty, case, *arguments, says=says)
