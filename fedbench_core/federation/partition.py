"""Which client holds which images: training images, and local validation and test sets in the same proportions."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedbench_core.api import (
    SPLITS,
    DataError,
    DataRequest,
    Examples,
    Images,
    Indices,
    Labels,
    RequestError,
    Splits,
    stream,
)
from fedbench_core.federation.blame import MisfitError, expect
from fedbench_core.federation.generators import own_generator_for
from fedbench_core.federation.resolved import ResolvedRun

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """Clients that are tested and not trained; the fields are those of `Partition`, rows are of whole splits."""

    indices: dict[str, list[Indices]]
    counts: Counts
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Partition:
    """Which client holds which images. `indices[split][i]`: client i's rows of a split; `counts`: (clients, classes).

    `counts` is of the training images; classes are the task's, or the distinct label sets of a multi-label task.
    sites: the name of each client's site, if the partitioner is by sites; public: images that no client holds, or None;
    public_source: the name and digest of their dataset; held_out: clients that are not trained, or None. Then splits
    are without the training and validation images of these.
    """

    splits: Splits
    indices: dict[str, list[Indices]]
    counts: Counts
    public: Images | None = None
    public_source: tuple[str, str] = ("", "")
    sites: tuple[str, ...] = ()
    held_out: HeldOut | None = None

    def examples(self, split: str, client: int) -> Examples:
        """One client's images of a split."""
        whole: Examples = getattr(self.splits, split)
        return whole.pick(self.indices[split][client])

    @property
    def digest(self) -> str:
        """The sha256 of which client holds which images."""
        rows = [own for split in SPLITS for own in self.indices[split]]
        lengths = np.array([len(own) for own in rows])
        return hashlib.sha256(np.concatenate([lengths, *rows]).astype(np.int64).tobytes()).hexdigest()

    @property
    def centralized(self) -> "Partition":
        """The partition with one client that holds all images."""
        joined = {split: [np.sort(np.concatenate(rows))] for split, rows in self.indices.items()}
        return replace(self, indices=joined, counts=self.counts.sum(axis=0, keepdims=True), sites=())


def apportion(total: int, weights: Counts) -> Counts:
    """`total` items in proportion to `weights`: floors first, then largest remainders, ties to the lower index."""
    if not weights.sum():
        weights = np.ones_like(weights)
    quotas, remainders = np.divmod(total * weights, weights.sum())
    order = np.argsort(-remainders, kind="stable")
    quotas[order[: total - int(quotas.sum())]] += 1
    return quotas


def make_partition(run: ResolvedRun, splits: Splits, public: Splits | None = None) -> Partition:
    """Split the training images by the partitioner, then validation and test images in the same proportions.

    Clients that are held out are drawn after that, so that the others have the images that they have without it.
    public: the dataset of the public images, if they are another dataset's.
    RequestError where the requested partition is impossible.
    """
    seed, clients = run.spec.seed, run.spec.clients
    _refuse_if_short(splits, clients)
    codes = _codes(splits)
    kept, shared = _without_public(run, _limited(run, codes["train"]), codes["train"])
    sites = splits.sites.get("train")
    labels = Labels(_labels(splits, kept), None if sites is None else sites[kept], splits.task.kind)
    with run.blaming("partitioner", refuses=True), own_generator_for(seed, "partition"):
        parts = run.partitioner.split(labels, clients, stream(seed, "partition"))
        _check_parts(parts, len(kept), clients)
    train = [kept[np.sort(part)] for part in parts]
    classes = 1 + max(int(code.max()) for code in codes.values())
    counts = np.stack([np.bincount(codes["train"][rows], minlength=classes) for rows in train])
    by_site = run.partitioner.by == "sites"
    indices = {"train": train}
    for split in SPLITS[1:]:
        indices[split] = _by_site(splits, split, train) if by_site else _by_quota(codes[split], counts, seed, split)
    names = _site_names(splits, train) if by_site else ()
    out = stream(seed, "hold-out").permutation(clients)[: run.spec.held_out]
    shared = _of_other_sites(splits, shared, [train[client] for client in out]) if by_site else shared
    whole = Partition(splits, indices, counts, *_public_images(splits, shared, public), names)
    return _without(whole, set(out.tolist())) if len(out) else whole


def _without(whole: Partition, out: Collection[int]) -> Partition:
    """The partition with the clients that are not `out`, in the same order."""
    kept, held = ([client for client in range(len(whole.counts)) if (client in out) == away] for away in (False, True))
    of_kept = {split: [rows[client] for client in kept] for split, rows in whole.indices.items()}
    of_held = {split: [rows[client] for client in held] for split, rows in whole.indices.items()}
    splits = whole.splits
    for split in SPLITS[:2]:
        seen = np.sort(np.concatenate(of_kept[split]))
        of_kept[split] = [np.searchsorted(seen, rows) for rows in of_kept[split]]
        splits = replace(splits, **{split: getattr(splits, split).pick(seen)})
    names = [tuple(whole.sites[client] for client in some if whole.sites) for some in (kept, held)]
    held_out = HeldOut(of_held, whole.counts[held], names[1])
    return replace(whole, splits=splits, indices=of_kept, counts=whole.counts[kept], sites=names[0], held_out=held_out)


def training_partition(run: ResolvedRun, partition: Partition) -> Partition:
    """The partition that is trained on: one client with all images in centralized training."""
    return partition.centralized if run.method.data == "centralized" else partition


def _without_public(run: ResolvedRun, kept: Indices, codes: npt.NDArray[np.int64]) -> tuple[Indices, Indices]:
    """The rows that clients share, and the public ones: a stratified draw."""
    fraction = run.spec.public_fraction
    if fraction is None:
        return kept, kept[:0]
    public = _stratified(kept, codes[kept], round(fraction * len(kept)), stream(run.spec.seed, "public"))
    private = np.setdiff1d(kept, public)
    if not len(public) or len(private) < run.spec.clients:
        raise RequestError(
            f"--public {run.spec.public} of {len(kept)} training images is {len(public)} public ones and leaves "
            f"{len(private)} for --clients {run.spec.clients}. Use another fraction, or more images."
        )
    return private, public


def _of_other_sites(splits: Splits, public: Indices, held_out: list[Indices]) -> Indices:
    """The public images that are not from the site of a client that is held out: nothing of such a site is used."""
    left = public[~np.isin(splits.sites["train"][public], _own_sites(splits, held_out))]
    if len(public) and not len(left):
        raise RequestError("All images that --public draws are of sites that are held out. Use a larger fraction.")
    return left


def _public_images(splits: Splits, rows: Indices, public: Splits | None) -> tuple[Images | None, tuple[str, str]]:
    if public is None:
        images = replace(splits.train.without_labels(), indices=rows) if len(rows) else None
        return images, (splits.name, splits.digest)
    if public.digest == splits.digest:
        raise RequestError(
            f"--public {public.name} is the dataset of the clients, whose images are not public. Use a fraction, such "
            "as --public 0.1, or another dataset."
        )
    got, expected = ((one.channels, one.image_size) for one in (public, splits))
    if got != expected:
        raise RequestError(
            f"--public {public.name} has images of {got[0]} channels and {got[1]} pixels; {splits.name} has "
            f"{expected[0]} channels and {expected[1]} pixels. Use a dataset of the same kind, or a fraction."
        )
    return public.train.without_labels(), (public.name, public.digest)


def load(run: ResolvedRun, request: DataRequest) -> Splits:
    """The images of a run; DataError or RequestError where they can't be loaded."""
    return _load(run, "dataset", request)


def load_public(run: ResolvedRun, request: DataRequest, splits: Splits) -> Splits | None:
    """The dataset of the public images, at the image size of the run's; None if they are not another dataset's."""
    return None if run.public is None else _load(run, "public", replace(request, image_size=splits.image_size))


def _load(run: ResolvedRun, part: str, request: DataRequest) -> Splits:
    with run.blaming(part, refuses=True), own_generator_for(0, part):
        try:
            splits: Splits = getattr(run, part).load(request)
        except PermissionError as error:
            raise DataError(f"{error.filename} could not be read or written: {error.strerror}.") from error
        expect(splits, Splits, "what load returned")
    return splits


def _check_parts(parts: Sequence[Indices], images: int, clients: int) -> None:
    """MisfitError unless every image belongs to one client and every client has an image."""
    if len(parts) != clients or not all(map(len, parts)):
        raise MisfitError(
            f"it split images among {clients} clients as {[len(part) for part in parts]}; each needs some"
        )
    owned = np.sort(np.concatenate(parts))
    if not np.array_equal(owned, np.arange(images)):
        raise MisfitError(
            f"it returned {len(owned)} indices for {images} images; expected each of 0..{images - 1} once"
        )


def _refuse_if_short(splits: Splits, clients: int) -> None:
    """Every client needs training, validation and test images of its own."""
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


def _limited(run: ResolvedRun, codes: npt.NDArray[np.int64]) -> Indices:
    """The rows of a stratified subset of `--limit` training images, or all of them."""
    limit = run.spec.limit
    if limit is None or limit >= len(codes):
        return np.arange(len(codes))
    if limit < run.spec.clients:
        raise RequestError(f"--limit {limit} leaves fewer images than --clients {run.spec.clients}. Raise it.")
    return _stratified(np.arange(len(codes)), codes, limit, stream(run.spec.seed, "limit"))


def _stratified(rows: Indices, codes: npt.NDArray[np.int64], size: int, rng: np.random.Generator) -> Indices:
    """`size` of the rows, with classes in proportion."""
    quotas = apportion(size, np.bincount(codes))
    drawn = [rng.permutation(rows[codes == code])[:quota] for code, quota in enumerate(quotas)]
    return np.sort(np.concatenate(drawn))


def _by_quota(codes: npt.NDArray[np.int64], counts: Counts, seed: int, split: str) -> list[Indices]:
    """Client i gets the same fraction of class k as of its training images; disjoint and complete."""
    parts: list[list[Indices]] = [[] for _ in counts]
    for code in np.unique(codes):
        rows = stream(seed, split, int(code)).permutation(np.flatnonzero(codes == code))
        cuts = np.cumsum(apportion(len(rows), counts[:, code]))[:-1]
        for own, part in zip(parts, np.split(rows, cuts), strict=True):
            own.append(part)
    return [np.sort(np.concatenate(own)) for own in parts]


def _by_site(splits: Splits, split: str, train: list[Indices]) -> list[Indices]:
    """The images of each client's own site."""
    if split not in splits.sites:
        raise RequestError(f"--partitioner sites: {splits.name} has no sites for its {split} images ({split}_sites).")
    shares = [np.flatnonzero(splits.sites[split] == site) for site in _own_sites(splits, train)]
    empty = [str(client) for client, rows in enumerate(shares) if not len(rows)]
    if empty:
        raise RequestError(
            f"--partitioner sites: {splits.name} has no {split} images from the sites of clients {', '.join(empty)}."
        )
    return shares


def _own_sites(splits: Splits, train: list[Indices]) -> list[int]:
    """The site of each client, by number."""
    return [int(splits.sites["train"][rows[0]]) for rows in train]


def _site_names(splits: Splits, train: list[Indices]) -> tuple[str, ...]:
    """The site of each client, by name."""
    return tuple(splits.site_names[site] if splits.site_names else str(site) for site in _own_sites(splits, train))
