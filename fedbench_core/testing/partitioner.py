"""The contract of partitioners."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from fedbench_core.api import Indices, Labels, Partitioner, RequestError
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched
from fedbench_core.testing.outside import modules_of, put_in_place

CLIENTS = 4
_USUAL = "eight classes"


def _classes() -> dict[str, Indices]:
    rng = np.random.default_rng(0)
    return {
        _USUAL: rng.permutation(np.arange(400) % 8),
        "two classes, nine to one": rng.permutation((np.arange(300) % 10 == 0).astype(np.int64)),
        "one class": np.zeros(100, dtype=np.int64),
        "a class with one image": rng.permutation(np.append(np.arange(200) % 2, 2)),
        "class numbers with gaps": rng.permutation(np.array([1, 5, 6])[np.arange(240) % 3]),
        "multi-label": rng.binomial(1, 0.3, (300, 4)),
    }


def _labels(case: str, clients: int) -> Labels:
    """The labels of a case, with as many sites as clients; read-only."""
    classes = _classes()[case]
    sites = np.random.default_rng(1).permutation(np.arange(len(classes)) % clients)
    classes.flags.writeable = sites.flags.writeable = False
    return Labels(classes, sites, "multi-label" if classes.ndim > 1 else "multi-class")


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


@contextmanager
def _noting_generators(part: Partitioner) -> Iterator[list[object]]:
    """The seeds of the numpy generators that are created in the block."""
    made: list[object] = []
    make = np.random.default_rng

    def noted(seed: Any = None) -> np.random.Generator:
        made.append(seed)
        return make(seed)

    with pytest.MonkeyPatch.context() as patch:
        put_in_place(patch, np.random, "default_rng", noted, modules_of(part))
        yield made


@contextmanager
def _may_refuse(case: str, clients: int) -> Iterator[None]:
    """Allow a RequestError with a message, except in the usual case, which must be possible."""
    try:
        yield
    except RequestError as error:
        if case == _USUAL and clients == CLIENTS:
            pytest.fail(f"refuses {CLIENTS} clients with 400 images of 8 equally large classes: {error}")
        if not str(error).strip():
            pytest.fail(
                "a RequestError without a message: say what was requested, why it is impossible, and what to type next"
            )


class PartitionerContract(PartContract[Partitioner]):
    """Disjoint and complete parts, none empty, that depend on labels and generator only; or a RequestError."""

    kind = "partitioner"

    @pytest.fixture
    def trace(self, part: Partitioner) -> Trace:
        """A split of the usual labels."""
        return lambda: [rows.tobytes() for rows in part.split(_labels(_USUAL, CLIENTS), CLIENTS, _rng())]

    @pytest.mark.parametrize("clients", [1, 2, CLIENTS, 13])
    @pytest.mark.parametrize("case", _classes())
    def test_parts_are_disjoint_complete_and_not_empty(self, part: Partitioner, case: str, clients: int) -> None:
        """Every image belongs to one client, every client has an image; each part is sorted."""
        labels = _labels(case, clients)
        with _may_refuse(case, clients):
            parts = part.split(labels, clients, _rng())
            assert len(parts) == clients, f"{len(parts)} parts for {clients} clients: return one array per client"
            sizes = [len(one) for one in parts]
            assert min(sizes) > 0, f"a client without images; sizes are {sizes}: draw again, or raise RequestError"
            for one in parts:
                _check_part(one, len(labels))
            given = np.concatenate(parts)
            twice = len(given) - len(np.unique(given))
            assert twice == 0, f"{twice} images belong to more than one client: parts must be disjoint"
            assert len(given) == len(labels), (
                f"{len(given)} of {len(labels)} images distributed: return every index 0..{len(labels) - 1} once"
            )

    def test_same_generator_same_split(self, part: Partitioner) -> None:
        """Equal labels and equally seeded generators give the same parts, from any instance of the partitioner."""
        first = part.split(_labels(_USUAL, CLIENTS), CLIENTS, _rng())
        part.split(_labels("one class", CLIENTS), CLIENTS, np.random.default_rng(8))
        for again in (part, self.make()):
            _same(first, again.split(_labels(_USUAL, CLIENTS), CLIENTS, _rng()), "the same labels and generator")

    def test_draws_from_its_generator_only(self, part: Partitioner) -> None:
        """No global generator is read or seeded, no shared setting is changed."""
        with global_state_untouched(f"{self.name}.split"):
            part.split(_labels(_USUAL, CLIENTS), CLIENTS, _rng())

    def test_depends_on_labels_only(self, part: Partitioner) -> None:
        """A partitioner by labels does not use sites, because `by` decides how clients are tested."""
        if part.by == "sites":
            pytest.skip("this partitioner is by sites")
        labels = _labels(_USUAL, CLIENTS)
        with_sites = part.split(labels, CLIENTS, _rng())
        without = part.split(Labels(labels.classes, None, labels.kind), CLIENTS, _rng())
        _same(
            with_sites, without, 'labels with and without sites (a partitioner that uses sites declares by = "sites")'
        )

    def test_unknown_sites_are_refused(self, part: Partitioner) -> None:
        """A partitioner by sites refuses data without sites with a RequestError."""
        if part.by != "sites":
            pytest.skip("this partitioner is not by sites")
        labels = _labels(_USUAL, CLIENTS)
        with pytest.raises(RequestError, match=r"\w+ \w+"):
            part.split(Labels(labels.classes, None, labels.kind), CLIENTS, _rng())

    def test_another_generator_another_split(self, part: Partitioner) -> None:
        """Draws come from the generator that is passed, so that seeds have different parts."""
        labels, generators = _labels(_USUAL, CLIENTS), [np.random.default_rng(seed) for seed in (7, 8)]
        with _noting_generators(part) as made:
            first, other = [part.split(labels, CLIENTS, rng) for rng in generators]
        equal = all(np.array_equal(one, another) for one, another in zip(first, other, strict=True))
        assert not (equal and made), (
            "the same parts from two generators, because it creates one of its own: draw from the one that is passed"
        )

    def test_more_clients_than_images_is_refused(self, part: Partitioner) -> None:
        """More clients than images are refused with a RequestError that has a message."""
        labels = Labels(np.arange(5) % 2, np.arange(5) % 3)
        with pytest.raises(RequestError, match=r"\w+ \w+"):
            part.split(labels, 8, _rng())


def _check_part(part: Indices, images: int) -> None:
    assert isinstance(part, np.ndarray), f"a part is of type {type(part).__name__}; expected an array of indices"
    assert part.dtype == np.int64, f"indices of dtype {part.dtype}; expected int64"
    invented = part[(part < 0) | (part >= images)]
    assert not len(invented), f"index {invented[0]} does not exist: there are {images} images, 0..{images - 1}"
    assert (np.diff(part) >= 0).all(), "a part that is not sorted: return np.sort(part)"
    assert (np.diff(part) > 0).all(), "a client has the same image more than once: a part holds each index once"


def _same(first: list[Indices], second: list[Indices], given: str) -> None:
    equal = len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert equal, f"two different splits for {given}: draw from the generator that is passed, keep nothing"
