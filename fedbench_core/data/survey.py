"""What a dataset holds, and what is doubtful about it: images by class and site, duplicates, blank images."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedbench_core.api.datasets import SPLITS, Splits
from fedbench_core.api.examples import Examples

SHOWN: Final = 5
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """An image: its split, its labels, and its name for a reader."""

    split: str
    labels: tuple[int, ...]
    name: str


def survey(splits: Splits) -> dict[str, Any]:
    """The contents of a dataset as JSON values; `notes` are sentences about what is doubtful."""
    groups = list(_repeated(splits))
    labels, sites = _by_label(splits), _by_site(splits)
    return {
        "name": splits.name,
        "digest": splits.digest,
        "official": splits.official,
        "task": splits.task.kind,
        "image_shape": list(splits.train.images.shape[1:]),
        "images": {split: len(_examples(splits, split)) for split in SPLITS},
        "classes": labels,
        "sites": sites,
        "duplicates": [[found.name for found in group] for group in groups],
        "notes": [
            *_empty("class", labels),
            *_empty("site", sites),
            *_duplicates(groups),
            *_blank(splits),
        ],
    }


def _examples(splits: Splits, split: str) -> Examples:
    examples: Examples = getattr(splits, split)
    return examples


def _by_label(splits: Splits) -> list[dict[str, Any]]:
    """A row per class (or label) with the number of its images in each split."""
    task = splits.task
    counts = {split: _label_counts(_examples(splits, split).labels, task.outputs) for split in SPLITS}
    return _rows("class", task.classes, counts)


def _label_counts(labels: npt.NDArray[np.int64], outputs: int) -> Counts:
    values = np.asarray(labels)
    return values.sum(axis=0) if values.shape[1] > 1 else np.bincount(values[:, 0], minlength=outputs)


def _by_site(splits: Splits) -> list[dict[str, Any]]:
    """A row per site; none if the dataset has no sites."""
    if not splits.sites:
        return []
    number = 1 + max(int(sites.max()) for sites in splits.sites.values())
    names = splits.site_names or tuple(map(str, range(number)))
    counts = {split: np.bincount(sites, minlength=len(names)) for split, sites in splits.sites.items()}
    return _rows("site", names, counts)


def _rows(kind: str, names: Sequence[str], counts: dict[str, Counts]) -> list[dict[str, Any]]:
    return [
        {kind: name, **{split: int(counts[split][number]) for split in SPLITS}} for number, name in enumerate(names)
    ]


def _empty(kind: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        without = [split for split in SPLITS if not row[split]]
        if without:
            yield f"The {kind} {row[kind]!r} has no {' and no '.join(without)} images."


def _repeated(splits: Splits) -> Iterator[list[Found]]:
    """Groups of images whose pixels are the same."""
    groups: dict[bytes, list[Found]] = {}
    for split in SPLITS:
        examples = _examples(splits, split)
        for row, image in enumerate(examples.images):
            key = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
            labels = tuple(examples.labels[row].tolist())
            groups.setdefault(key, []).append(Found(split, labels, _name(splits, split, row)))
    return (group for group in groups.values() if len(group) > 1)


def _duplicates(groups: list[list[Found]]) -> Iterator[str]:
    for one, other in combinations(SPLITS, 2):
        both = [group for group in groups if {one, other} <= {found.split for found in group}]
        yield from _note(f"The same image in {one} and in {other}, which distorts {other} scores", _equal(both))
    for split in SPLITS:
        within = [own for group in groups if len(own := [found for found in group if found.split == split]) > 1]
        yield from _note(f"The same image several times in {split}", _equal(within))
    differing = [group for group in groups if len({found.labels for found in group}) > 1]
    yield from _note("The same image with different labels", _equal(differing))


def _equal(groups: list[list[Found]]) -> list[str]:
    return [" = ".join(found.name for found in group) for group in groups]


def _blank(splits: Splits) -> Iterator[str]:
    """A note about images of one color."""
    blank = []
    for split in SPLITS:
        images = _examples(splits, split).images
        blank += [_name(splits, split, row) for row, image in enumerate(images) if image.min() == image.max()]
    yield from _note("Images of one color", blank)


def _name(splits: Splits, split: str, row: int) -> str:
    return f"{splits.files[split][row]} ({split})" if split in splits.files else f"{split} image {row}"


def _note(what: str, which: list[str]) -> Iterator[str]:
    if which:
        yield f"{what} ({len(which)}): {'; '.join(which[:SHOWN])}{'; ...' if len(which) > SHOWN else '.'}"
