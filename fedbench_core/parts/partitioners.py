"""Ways to split the training images among the clients: disjoint, complete, and none empty."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from fedbench_core.api import Indices, Labels, Partitioner, RequestError

Numbers = npt.NDArray[np.int64]

# Unsuccessful draws must end within a second, so the number of drawn proportions is bounded.
_MOST_PROPORTIONS = 4_000_000
_MOST_DRAWS = 1000
_FEWEST_DRAWS = 5

MinSize = Annotated[int, Field(ge=1, description="fewest images of a client; networks with BatchNorm need 2")]
Alpha = Annotated[float, Field(ge=1e-4, le=1e6, description="evenness: 0.1 is very skewed, 100 almost even")]


@dataclass(frozen=True)
class Iid(Partitioner):
    """Every client gets the same number of images (give or take one), drawn from all of them."""

    def split(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """One sorted array per client; RequestError if there are more clients than images."""
        _refuse_if_short(len(labels), clients, min_size=1)
        return _groups(rng.permutation(np.arange(len(labels)) % clients), clients)


@dataclass(frozen=True)
class Dirichlet(Partitioner):
    """Each class is split in proportions drawn from a symmetric Dirichlet distribution.

    Each label set of multi-label images counts as a class. Draws in which a client gets fewer than `min_size` images
    are repeated, which makes the result more even than alpha alone would: the default is the smallest number that
    networks with BatchNorm can train on.
    """

    alpha: Alpha = 1.0
    min_size: MinSize = 2

    def split(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """One sorted array per client; RequestError if a bounded number of draws leaves some client too few images."""
        _refuse_if_short(len(labels), clients, self.min_size)
        members = _by_class(labels)
        owners = np.empty(len(labels), dtype=np.int64)
        for images, counts in zip(members, self._counts(members, clients, rng), strict=True):
            owners[images] = rng.permutation(np.repeat(np.arange(clients), counts))
        return _groups(owners, clients)

    def _counts(self, members: list[Indices], clients: int, rng: np.random.Generator) -> Numbers:
        sizes = np.array([len(images) for images in members])
        draws = int(np.clip(_MOST_PROPORTIONS // (clients * len(sizes)), _FEWEST_DRAWS, _MOST_DRAWS))
        for _ in range(draws):
            counts = _rounded(rng.dirichlet(np.full(clients, self.alpha), len(sizes)), sizes, rng)
            if counts.sum(axis=0).min() >= self.min_size:
                return counts
        raise RequestError(
            f"None of {draws} Dirichlet draws with alpha={self.alpha:g} gave each of {clients} clients at least "
            f"{self.min_size} of the {sizes.sum()} images. Raise alpha (--set partitioner.alpha={10 * self.alpha:g}), "
            f"use fewer clients (--clients {max(1, clients // 2)})"
            + (" or lower the minimum (--set partitioner.min_size=1)." if self.min_size > 1 else ".")
        )


@dataclass(frozen=True)
class Shards(Partitioner):
    """Every client gets images of a few classes only (multi-label: of a few label sets).

    Large classes are cut into more shards than small ones, so that clients are about equally large.
    """

    classes_per_client: Annotated[int, Field(ge=1, description="most classes that one client has images of")] = 2

    def split(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """One sorted array per client; RequestError if clients x classes_per_client cannot hold all classes."""
        _refuse_if_short(len(labels), clients, min_size=1)
        members = _by_class(labels)
        if clients * self.classes_per_client < len(members):
            classes = "classes" if labels.classes.ndim == 1 else "label sets"
            raise RequestError(
                f"{clients} clients with at most {self.classes_per_client} {classes} each cannot hold all "
                f"{len(members)} {classes} of the training images. "
                f"Use --set partitioner.classes_per_client={-(-len(members) // clients)} or "
                f"--clients {-(-len(members) // self.classes_per_client)}, or more."
            )
        shards = _shards([len(images) for images in members], clients, self.classes_per_client)
        owners = np.empty(len(labels), dtype=np.int64)
        for images, holders in zip(members, _holders(shards, clients, rng), strict=True):
            owners[images] = rng.permutation(np.resize(holders, len(images)))
        return _groups(owners, clients)


@dataclass(frozen=True)
class Quantity(Partitioner):
    """Clients differ in size only: `min_size` images each; the rest is split by a Dirichlet draw over clients."""

    alpha: Alpha = 0.5
    min_size: MinSize = 2

    def split(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """One sorted array per client; RequestError if there are fewer than clients x min_size images."""
        _refuse_if_short(len(labels), clients, self.min_size)
        rest = np.array([len(labels) - clients * self.min_size])
        sizes = self.min_size + _rounded(rng.dirichlet(np.full(clients, self.alpha), 1), rest, rng)[0]
        return _groups(rng.permutation(np.repeat(np.arange(clients), sizes)), clients)


@dataclass(frozen=True)
class Sites(Partitioner):
    """One client per site (hospital, scanner) of the dataset, in the order of their numbers."""

    by = "sites"

    def split(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """One sorted array per client; RequestError without site labels or unless clients == sites."""
        if labels.sites is None:
            raise RequestError(
                "This dataset has no site labels, which the partitioner 'sites' needs. "
                "Use another partitioner (--partitioner dirichlet) or a dataset with sites (--dataset phantom)."
            )
        known, owners = np.unique(labels.sites, return_inverse=True)
        if clients != len(known):
            raise RequestError(
                f"'sites' makes one client of each site: got {clients} clients for {len(known)} sites. "
                f"Use --clients {len(known)}."
            )
        return _groups(owners, clients)


PARTITIONERS = {"iid": Iid, "dirichlet": Dirichlet, "shards": Shards, "quantity": Quantity, "sites": Sites}


def _refuse_if_short(images: int, clients: int, min_size: int) -> None:
    if images >= clients * min_size:
        return
    least = "an image" if min_size == 1 else f"{min_size} images"
    most = images // min_size
    ways = [f"--clients {most} or fewer"] * (most > 0) + ["--set partitioner.min_size=1"] * (clients <= images)
    raise RequestError(
        f"{images} training images are too few to give each of {clients} clients {least}. "
        f"Use {' or '.join([*ways, 'more images (a larger --limit or --dataset)'])}."
    )


def _groups(numbers: Numbers, count: int) -> list[Indices]:
    """The positions of each of the numbers 0..count-1, in ascending order."""
    ends = np.cumsum(np.bincount(numbers, minlength=count))
    return np.split(np.argsort(numbers, kind="stable"), ends[:-1])


def _by_class(labels: Labels) -> list[Indices]:
    """The images of each class that has any; of multi-label images each set of labels is a class."""
    axis = 0 if labels.classes.ndim > 1 else None
    known, numbers = np.unique(labels.classes, axis=axis, return_inverse=True)
    return _groups(numbers.reshape(-1), len(known))


def _rounded(proportions: npt.NDArray[np.float64], sizes: Numbers, rng: np.random.Generator) -> Numbers:
    """Whole numbers (classes, clients) that sum to sizes (classes,); each is its proportion rounded up or down.

    One random offset per row makes the expected number exactly the proportion: rounding to the nearest would always
    give the only image of a class to a client in the middle.
    """
    ends = np.floor(np.cumsum(proportions, axis=1) * sizes[:, None] + rng.random((len(sizes), 1))).astype(np.int64)
    ends[:, -1] = sizes
    return np.diff(np.minimum(ends, sizes[:, None]), axis=1, prepend=0)


def _shards(sizes: list[int], clients: int, per_client: int) -> list[int]:
    """The number of shards of each class: at least one, at most one per client or image, of equal size."""
    counts = np.ones(len(sizes), dtype=np.int64)
    most = np.minimum(sizes, clients)
    for _ in range(clients * per_client - len(sizes)):
        if (counts >= most).all():
            break
        counts[np.argmax(np.where(counts < most, sizes / counts, 0))] += 1
    return [int(count) for count in counts]


def _holders(shards: list[int], clients: int, rng: np.random.Generator) -> list[Numbers]:
    """The clients that hold a shard of each class: no client two of one class, and all equally many, give or take one.

    Taking from the classes with the most shards left always succeeds (Gale and Ryser); ties are broken at random.
    """
    left = np.array(shards)
    holders: list[list[int]] = [[] for _ in shards]
    for turn, client in enumerate(rng.permutation(clients)):
        wanted = (left.sum() + clients - turn - 1) // (clients - turn)
        for number in np.argsort(-(left + rng.random(len(left))))[:wanted]:
            holders[number].append(int(client))
            left[number] -= 1
    return [rng.permutation(np.array(names, dtype=np.int64)) for names in holders]
