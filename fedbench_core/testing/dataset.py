"""The contract of datasets."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fedbench_core.api import SPLITS, DataError, DataRequest, Dataset, Examples, RequestError, Splits
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched, same
from fedbench_core.testing.small import cache_of

ODD_SIZE = 17
"""A number of pixels per side that hardly any dataset has."""
MAPPED_BYTES = 2**26
"""Larger arrays must be mapped from disk, or every worker process has a copy."""
TOLERATED = 0.01
"""The fraction of a split's images that may be in another split too: published datasets have some duplicates."""
_KINDS = ("multi-class", "binary", "ordinal", "multi-label")


class DatasetContract(PartContract[Dataset]):
    """Three disjoint splits of valid images and labels, the same every time.

    A dataset that can't be loaded without a download is skipped with the reason.
    """

    kind = "dataset"

    @pytest.fixture
    def request_(self, tmp_path_factory: pytest.TempPathFactory) -> DataRequest:
        """Where the dataset may look for files."""
        return DataRequest(cache_of(tmp_path_factory))

    @pytest.fixture
    def splits(self, part: Dataset, request_: DataRequest) -> Splits:
        """The dataset with default settings."""
        return _loaded(part, request_)

    @pytest.fixture
    def trace(self, part: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trace:
        """All contents, loaded anew."""
        return lambda: _facts(_loaded(part, DataRequest(tmp_path_factory.mktemp("cache"))))

    def test_images_have_one_form(self, splits: Splits) -> None:
        """All splits have square uint8 images of one shape, which fits `channels`."""
        for split in SPLITS:
            examples = _split(splits, split)
            images = examples.images
            assert images.dtype == np.uint8, f"{split} images are {images.dtype}; expected uint8"
            assert examples.channels in {"none", "last", "first"}, f"channels are {examples.channels!r}"
            dims = 3 if examples.channels == "none" else 4
            assert images.ndim == dims, f"{split} images are {images.shape}, their channels {examples.channels!r}"
            assert images.shape[1:] == splits.train.images.shape[1:], f"{split} images have another shape than train's"
            height, width = images.shape[2:4] if examples.channels == "first" else images.shape[1:3]
            assert height == width, f"{split} images have {height} x {width} pixels; expected square ones"
            assert np.array_equal(examples.indices, np.arange(len(images))), (
                f"{split} has indices of a part of its images"
            )

    def test_labels_fit_the_task(self, splits: Splits) -> None:
        """Each image has one row of labels: a class, or 0 or 1 for every label."""
        task = splits.task
        assert task.kind in _KINDS, f"the kind of task is {task.kind!r}; expected one of {', '.join(_KINDS)}"
        assert len(set(task.classes)) == len(task.classes) > 1, f"classes are {task.classes}; expected different names"
        assert task.kind != "binary" or task.outputs == len("ab"), f"a binary task with {task.outputs} classes"
        width, most = (task.outputs, 1) if task.kind == "multi-label" else (1, task.outputs - 1)
        for split in SPLITS:
            labels = _split(splits, split).labels
            images = len(_split(splits, split).images)
            assert labels.shape == (images, width), f"{split} labels are {labels.shape}; expected {(images, width)}"
            assert labels.dtype.kind in "iu", f"{split} labels are {labels.dtype}; expected integers"
            assert labels.min() >= 0, f"{split} has the label {labels.min()}; expected 0..{most}"
            assert labels.max() <= most, f"{split} has the label {labels.max()}; expected 0..{most}"
        assert len(np.unique(splits.train.labels, axis=0)) > 1, "all training images have the same label"

    def test_images_become_tensors(self, splits: Splits) -> None:
        """A batch is float32 (b, C, H, W) in [-1, 1]."""
        for split in SPLITS:
            examples = _split(splits, split)
            images, labels = examples.tensors(np.arange(min(4, len(examples))))
            expected = (len(labels), splits.channels, splits.image_size, splits.image_size)
            assert tuple(images.shape) == expected, f"a batch of {split} is {tuple(images.shape)}; expected {expected}"
            assert float(images.abs().max()) <= 1, f"a batch of {split} is not within -1 and 1"

    @pytest.mark.parametrize(("one", "other"), [("train", "test"), ("train", "val"), ("val", "test")])
    def test_splits_are_disjoint(self, splits: Splits, one: str, other: str) -> None:
        """No image of one split is in another."""
        known = set(_digests(_split(splits, one)))
        digests = _digests(_split(splits, other))
        repeats = sum(digest in known for digest in digests)
        assert repeats <= TOLERATED * len(digests), (
            f"{repeats} of {len(digests)} {other} images are {one} images too: split the data before anything else"
        )

    def test_same_request_same_images(self, splits: Splits, tmp_path: Path) -> None:
        """Another instance with an empty cache loads the same contents."""
        again = _loaded(self.make(), DataRequest(tmp_path))
        now = _facts(again)
        other = [what for what, fact in _facts(splits).items() if not same(fact, now[what])]
        assert not other, f"loaded again it has another {' and another '.join(other)}: draw from stream(...) only"

    def test_image_size_is_kept_or_refused(self, part: Dataset, splits: Splits, request_: DataRequest) -> None:
        """A requested image size is respected, with a digest of its own, or refused with an error that explains it."""
        try:
            with _nothing_fetched():
                odd = part.load(replace(request_, image_size=ODD_SIZE))
        except (RequestError, DataError) as error:
            if len(str(error).split()) < len(["two", "words"]):
                pytest.fail("its error explains nothing: say what was requested, and what there is")
            return
        assert odd.image_size == ODD_SIZE, (
            f"for a request of {ODD_SIZE} pixels it gave {odd.image_size}: give that size, or raise RequestError"
        )
        assert odd.digest != splits.digest, (
            f"{ODD_SIZE} pixels have the digest of {splits.image_size}: include the size"
        )

    def test_is_named(self, splits: Splits) -> None:
        """It has a name and a digest, which identify the data in records."""
        assert splits.name, "no name"
        assert splits.digest, "no digest: give the MD5 of the source file, or the name and version of its generator"
        assert isinstance(splits.official, bool), f"official is {splits.official!r}; expected true or false"

    def test_large_arrays_are_mapped(self, splits: Splits) -> None:
        """Large image arrays take no memory in worker processes."""
        for split in SPLITS:
            images = _split(splits, split).images
            assert images.nbytes <= MAPPED_BYTES or _is_mapped(images), (
                f"{split} images take {images.nbytes} bytes in every process: map them, np.load(path, mmap_mode='r')"
            )

    def test_sites_are_numbered(self, splits: Splits) -> None:
        """If sites are known, every image of every split has one, 0 or more."""
        if not splits.sites:
            pytest.skip("this dataset has no sites")
        assert set(splits.sites) == set(SPLITS), f"sites for {', '.join(splits.sites)}; expected {', '.join(SPLITS)}"
        for split, sites in splits.sites.items():
            count = len(_split(splits, split).images)
            assert sites.shape == (count,), f"{sites.shape} sites for {count} {split} images"
            assert sites.dtype.kind in "iu", f"{split} sites are {sites.dtype}; expected integers"
            assert sites.min() >= 0, f"{split} has the site {sites.min()}; expected 0 or more"
            named = len(splits.site_names)
            assert not named or sites.max() < named, f"{split} has the site {sites.max()}, but there are {named} names"

    def test_writes_to_its_cache_only(self, part: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It writes files below `request.cache` only."""
        request, here = DataRequest(tmp_path / "cache", base=Path.cwd()), tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        _loaded(part, request)
        left = [path.name for path in here.iterdir()]
        assert not left, f"it left {', '.join(left)} in the working directory: write below request.cache"

    def test_global_state_is_untouched(self, part: Dataset, tmp_path: Path) -> None:
        """No global generator is read or seeded, no shared setting is changed."""
        with global_state_untouched(f"{self.name}.load"):
            _loaded(part, DataRequest(tmp_path))


def _loaded(part: Dataset, request: DataRequest) -> Splits:
    try:
        with _nothing_fetched():
            splits = part.load(request)
    except DataError as error:
        pytest.skip(f"can't be loaded here: {error}")
    assert isinstance(splits, Splits), f"load returned {type(splits).__name__}; expected Splits"
    return splits


@contextmanager
def _nothing_fetched() -> Iterator[None]:
    """Refuse connections to other machines."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            raise OSError("the contract suite downloads nothing")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


def _split(splits: Splits, name: str) -> Examples:
    examples = getattr(splits, name)
    assert isinstance(examples, Examples), f"{name} is of type {type(examples).__name__}; expected Examples"
    assert len(examples.images), f"{name} has no images; expected at least one in each split"
    return examples


def _facts(splits: Splits) -> dict[str, object]:
    """The contents of a dataset."""
    facts: dict[str, object] = {"name": splits.name, "digest": splits.digest, "task": splits.task}
    for split in SPLITS:
        examples = _split(splits, split)
        facts |= {f"set of {split} images": _digests(examples), f"set of {split} labels": examples.labels.tolist()}
    return facts


def _digests(examples: Examples) -> list[bytes]:
    """The sha256 of each image."""
    return [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in examples.images]


def _is_mapped(array: npt.NDArray[Any]) -> bool:
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    return base is not None
