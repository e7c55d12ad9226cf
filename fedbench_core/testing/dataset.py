"""What every dataset keeps to."""

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
"""Pixels per side that hardly any dataset comes in."""
MAPPED_BYTES = 2**26
"""Larger arrays are mapped from disk, or every worker process has a copy."""
TOLERATED = 0.01
"""The part of a split's images that may be in another one too: published sets are not free of repeats."""
_KINDS = ("multi-class", "binary", "ordinal", "multi-label")


class DatasetContract(PartContract[Dataset]):
    """Three disjoint splits of well-formed images and labels, the same whenever they are asked for.

    What cannot be had here (no file, and nothing is fetched for a test) is skipped with the reason.
    """

    kind = "dataset"

    @pytest.fixture
    def request_(self, tmp_path_factory: pytest.TempPathFactory) -> DataRequest:
        """Where the dataset may look."""
        return DataRequest(cache_of(tmp_path_factory))

    @pytest.fixture
    def splits(self, part: Dataset, request_: DataRequest) -> Splits:
        """The dataset as it is by default."""
        return _loaded(part, request_)

    @pytest.fixture
    def trace(self, part: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trace:
        """Everything in it, made anew."""
        return lambda: _facts(_loaded(part, DataRequest(tmp_path_factory.mktemp("cache"))))

    def test_images_have_one_form(self, splits: Splits) -> None:
        """Square uint8 images of one shape in every split, and the word for their channels fits."""
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
            assert np.array_equal(examples.indices, np.arange(len(images))), f"{split} is not whole"

    def test_labels_fit_the_task(self, splits: Splits) -> None:
        """One row of labels per image: a class in range, or for every label 0 or 1."""
        task = splits.task
        assert task.kind in _KINDS, f"no kind of task: {task.kind!r}; expected one of {', '.join(_KINDS)}"
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
        """A batch is float32 (b, C, H, W) within -1 and 1."""
        for split in SPLITS:
            examples = _split(splits, split)
            images, labels = examples.tensors(np.arange(min(4, len(examples))))
            expected = (len(labels), splits.channels, splits.image_size, splits.image_size)
            assert tuple(images.shape) == expected, f"a batch of {split} is {tuple(images.shape)}; expected {expected}"
            assert float(images.abs().max()) <= 1, f"a batch of {split} is not within -1 and 1"

    @pytest.mark.parametrize(("one", "other"), [("train", "test"), ("train", "val"), ("val", "test")])
    def test_splits_are_disjoint(self, splits: Splits, one: str, other: str) -> None:
        """No image of one split is in another: test data that was trained on measures nothing."""
        known = set(_digests(_split(splits, one)))
        digests = _digests(_split(splits, other))
        repeats = sum(digest in known for digest in digests)
        assert repeats <= TOLERATED * len(digests), (
            f"{repeats} of {len(digests)} {other} images are {one} images too: split before anything else"
        )

    def test_same_request_same_images(self, splits: Splits, tmp_path: Path) -> None:
        """Loaded again, by another instance into an empty cache, everything is the same."""
        again = _loaded(self.make(), DataRequest(tmp_path))
        now = _facts(again)
        other = [what for what, fact in _facts(splits).items() if not same(fact, now[what])]
        assert not other, f"loaded again it has another {' and another '.join(other)}: draw from stream(...) alone"

    def test_image_size_is_kept_or_refused(self, part: Dataset, splits: Splits, request_: DataRequest) -> None:
        """A size that was asked for is what comes, under a digest of its own, or there is a sentence why not."""
        try:
            with _nothing_fetched():
                odd = part.load(replace(request_, image_size=ODD_SIZE))
        except (RequestError, DataError) as error:
            if len(str(error).split()) < len(["two", "words"]):
                pytest.fail("a refusal without a sentence: say what was asked, and what there is")
            return
        assert odd.image_size == ODD_SIZE, (
            f"asked for {ODD_SIZE} pixels it gave {odd.image_size}: give that size, or raise RequestError"
        )
        assert odd.digest != splits.digest, f"{ODD_SIZE} pixels have the digest of {splits.image_size}: name the size"

    def test_is_named(self, splits: Splits) -> None:
        """A record can say what the data were."""
        assert splits.name, "no name"
        assert splits.digest, "no digest: give the MD5 of the source file, or a name for what draws it with its version"
        assert isinstance(splits.official, bool), f"official is {splits.official!r}; expected true or false"

    def test_large_arrays_are_mapped(self, splits: Splits) -> None:
        """Images of any size take no memory in the worker processes."""
        for split in SPLITS:
            images = _split(splits, split).images
            assert images.nbytes <= MAPPED_BYTES or _is_mapped(images), (
                f"{split} images take {images.nbytes} bytes in every process: map them, np.load(path, mmap_mode='r')"
            )

    def test_sites_are_numbered(self, splits: Splits) -> None:
        """Where the sites are known, every image of every split has one, 0 or more."""
        if not splits.sites:
            pytest.skip("this dataset knows no sites")
        assert set(splits.sites) == set(SPLITS), f"sites for {', '.join(splits.sites)}; expected {', '.join(SPLITS)}"
        for split, sites in splits.sites.items():
            count = len(_split(splits, split).images)
            assert sites.shape == (count,), f"{sites.shape} sites for {count} {split} images"
            assert sites.dtype.kind in "iu", f"{split} sites are {sites.dtype}; expected integers"
            assert sites.min() >= 0, f"{split} has the site {sites.min()}; expected 0 or more"

    def test_writes_to_its_cache_only(self, part: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What it keeps goes below `request.cache`: the folder that a run was started in is its user's."""
        request, here = DataRequest(tmp_path / "cache", base=Path.cwd()), tmp_path / "here"
        here.mkdir()
        monkeypatch.chdir(here)
        _loaded(part, request)
        left = [path.name for path in here.iterdir()]
        assert not left, f"it left {', '.join(left)} in the folder that it was started in: write below request.cache"

    def test_global_state_is_untouched(self, part: Dataset, tmp_path: Path) -> None:
        """No global generator is read or seeded, also when everything is made anew."""
        with global_state_untouched(f"{self.name}.load"):
            _loaded(part, DataRequest(tmp_path))


def _loaded(part: Dataset, request: DataRequest) -> Splits:
    try:
        with _nothing_fetched():
            splits = part.load(request)
    except DataError as error:
        pytest.skip(f"cannot be had here: {error}")
    assert isinstance(splits, Splits), f"load gave {type(splits).__name__}; expected Splits"
    return splits


@contextmanager
def _nothing_fetched() -> Iterator[None]:
    """No connection to another machine: a test neither waits for a network nor depends on it."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            raise OSError("the contract suite fetches nothing")
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
    """All that there is to a dataset."""
    facts: dict[str, object] = {"name": splits.name, "digest": splits.digest, "task": splits.task}
    for split in SPLITS:
        examples = _split(splits, split)
        facts |= {f"set of {split} images": _digests(examples), f"set of {split} labels": examples.labels.tolist()}
    return facts


def _digests(examples: Examples) -> list[bytes]:
    """One per image."""
    return [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in examples.images]


def _is_mapped(array: npt.NDArray[Any]) -> bool:
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    return base is not None
