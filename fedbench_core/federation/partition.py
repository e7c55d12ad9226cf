"""Who holds which images: training shares, and local validation and test sets that follow them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedbench_core.api import SPLITS, DataRequest, Examples, Indices, Labels, RequestError, Splits, stream
from fedbench_core.federation.blame import MisfitError, expect
from fedbench_core.federation.resolved import ResolvedRun

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Everybody's images. `indices[split][i]` are client i's rows of a split; `counts` (clients, classes) of training.

    Classes are the task's, or the distinct label sets of a multi-label task.
    """

    splits: Splits
    indices: dict[str, list[Indices]]
    counts: Counts

    def examples(self, split: str, client: int) -> Examples:
        """One client's images of a split."""
        whole: Examples = getattr(self.splits, split)
        return replace(whole, indices=self.indices[split][client])

    def trained_on(self, client: int, *, centralized: bool) -> int:
        """How many training images a client has."""
        return sum(map(len, self.indices["train"])) if centralized else len(self.indices["train"][client])

    def centralized(self, split: str) -> Examples:
        """All clients' images of a split together."""
        whole: Examples = getattr(self.splits, split)
        return replace(whole, indices=np.sort(np.concatenate(self.indices[split])))


def apportion(total: int, weights: Counts) -> Counts:
    """`total` items by `weights`: floors first, then largest remainders, ties to the lower index."""
    if not weights.sum():
        weights = np.ones_like(weights)
    quotas, remainders = np.divmod(total * weights, weights.sum())
    order = np.argsort(-remainders, kind="stable")
    quotas[order[: total - int(quotas.sum())]] += 1
    return quotas


def deal(setting: ResolvedRun, splits: Splits) -> Partition:
    """Split the training images by the partitioner, then validation and test images after them.

    Raises RequestError where the partition asked for is impossible.
    """
    seed, clients = setting.spec.seed, setting.spec.clients
    _refuse_if_short(splits, clients)
    codes = _codes(splits)
    kept = _limited(setting, codes["train"])
    sites = splits.sites.get("train")
    labels = Labels(_labels(splits, kept), None if sites is None else sites[kept], splits.task.kind)
    with setting.blaming("partitioner", refuses=True):
        parts = setting.partitioner.split(labels, clients, stream(seed, "partition"))
        _check_parts(parts, len(kept), clients)
    train = [kept[np.sort(part)] for part in parts]
    classes = 1 + max(int(code.max()) for code in codes.values())
    counts = np.stack([np.bincount(codes["train"][rows], minlength=classes) for rows in train])
    by_site = setting.partitioner.by == "sites"
    indices = {"train": train}
    for split in SPLITS[1:]:
        indices[split] = _by_site(splits, split, train) if by_site else _by_quota(codes[split], counts, seed, split)
    return Partition(splits, indices, counts)


def load(setting: ResolvedRun, request: DataRequest) -> Splits:
    """The images of a run; DataError or RequestError says why they cannot be had."""
    with setting.blaming("dataset", refuses=True):
        splits = setting.dataset.load(request)
        expect(splits, Splits, "what load gave")
    return splits


def _check_parts(parts: Sequence[Indices], images: int, clients: int) -> None:
    """MisfitError unless every image has one owner and every client an image."""
    if len(parts) != clients or not all(map(len, parts)):
        raise MisfitError(f"it gave {clients} clients {[len(part) for part in parts]} images; expected some for each")
    dealt = np.sort(np.concatenate(parts))
    if not np.array_equal(dealt, np.arange(images)):
        raise MisfitError(
            f"it dealt out {len(dealt)} indices to {images} images; expected each of 0..{images - 1} once"
        )


def _refuse_if_short(splits: Splits, clients: int) -> None:
    """Everybody trains, selects and tests on images of their own, so no split may have fewer than clients."""
    images = {split: len(getattr(splits, split)) for split in SPLITS}
    split = min(images, key=lambda name: images[name])
    if images[split] < clients:
        raise RequestError(
            f"{splits.name} has {images[split]} {split} images, fewer than --clients {clients}. "
            f"Use --clients {images[split]} or fewer, or a larger --dataset."
        )


def _labels(splits: Splits, rows: Indices) -> npt.NDArray[np.int64]:
    labels = np.asarray(splits.train.labels[rows]).astype(np.int64)
    return labels if splits.task.kind == "multi-label" else labels[:, 0]


def _codes(splits: Splits) -> dict[str, npt.NDArray[np.int64]]:
    """One class number per image: the label, or the number of its label set."""
    labels = {split: np.asarray(getattr(splits, split).labels).astype(np.int64) for split in SPLITS}
    if splits.task.kind != "multi-label":
        return {split: values[:, 0] for split, values in labels.items()}
    joined = np.concatenate(list(labels.values()))
    codes = np.unique(joined, axis=0, return_inverse=True)[1].reshape(-1)
    cuts = np.cumsum([len(values) for values in labels.values()])[:-1]
    return dict(zip(labels, np.split(codes, cuts), strict=True))


def _limited(setting: ResolvedRun, codes: npt.NDArray[np.int64]) -> Indices:
    """The rows of a stratified subset of `--limit` training images, or all of them."""
    limit = setting.spec.limit
    if limit is None or limit >= len(codes):
        return np.arange(len(codes))
    if limit < setting.spec.clients:
        raise RequestError(f"--limit {limit} leaves fewer images than --clients {setting.spec.clients}. Raise it.")
    counts = np.bincount(codes)
    quotas = apportion(limit, counts)
    rng = stream(setting.spec.seed, "limit")
    rows = [rng.permutation(np.flatnonzero(codes == code))[:quota] for code, quota in enumerate(quotas)]
    return np.sort(np.concatenate(rows))


def _by_quota(codes: npt.NDArray[np.int64], counts: Counts, seed: int, split: str) -> list[Indices]:
    """Client i gets, of class k's images, its part of the class's training images; disjoint and complete."""
    shares: list[list[Indices]] = [[] for _ in counts]
    for code in np.unique(codes):
        rows = stream(seed, split, int(code)).permutation(np.flatnonzero(codes == code))
        cuts = np.cumsum(apportion(len(rows), counts[:, code]))[:-1]
        for share, part in zip(shares, np.split(rows, cuts), strict=True):
            share.append(part)
    return [np.sort(np.concatenate(share)) for share in shares]


def _by_site(splits: Splits, split: str, train: list[Indices]) -> list[Indices]:
    """The images of each client's own site."""
    if split not in splits.sites:
        raise RequestError(f"--partitioner sites: {splits.name} has no sites for its {split} images ({split}_sites).")
    own = [splits.sites["train"][rows[0]] for rows in train]
    shares = [np.flatnonzero(splits.sites[split] == site) for site in own]
    empty = [str(client) for client, rows in enumerate(shares) if not len(rows)]
    if empty:
        raise RequestError(
            f"--partitioner sites: {splits.name} has no {split} images from the sites of clients {', '.join(empty)}."
        )
    return shares
