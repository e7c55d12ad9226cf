"""Datasets that each do one thing wrong: {name: (class, a word of the message that says what)}."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedbench_core.api import DataError, Examples, Splits, Task, hookimpl, stream

SEEN = {}


@dataclass(frozen=True)
class Sound:
    """A few generated images of two kinds."""

    def load(self, request):
        size = request.image_size or 12
        splits = {split: self.drawn(stream(1, split), count, size) for split, count in self.counts().items()}
        return Splits("drawn", Task("binary", ("dark", "bright")), **splits, digest=f"drawn-{size}", official=True)

    def counts(self):
        return {"train": 30, "val": 10, "test": 10}

    def drawn(self, rng, count, size):
        labels = np.arange(count) % 2
        images = rng.integers(0, 120, (count, size, size), dtype=np.uint8)
        images[labels == 1] += 120
        return Examples(images, labels[:, None], np.arange(count), "none")


class Loaded(Sound):
    """Correct splits; a subclass changes something."""

    def load(self, request):
        return self.change(super().load(request))

    def change(self, splits):
        raise NotImplementedError


class TestsInTrain(Loaded):
    """Splits one array by positions that overlap."""

    def change(self, splits):
        return replace(splits, test=replace(splits.test, images=splits.train.images[:10]))


class ValidatesInTest(Loaded):
    def change(self, splits):
        return replace(splits, val=splits.test)


class LabelsFromOne(Loaded):
    def change(self, splits):
        return replace(splits, train=replace(splits.train, labels=splits.train.labels + 1))


class LabelsBelowZero(Loaded):
    def change(self, splits):
        return replace(splits, val=replace(splits.val, labels=splits.val.labels - 1))


class FlatLabels(Loaded):
    def change(self, splits):
        return replace(splits, test=replace(splits.test, labels=splits.test.labels[:, 0]))


class FewerLabels(Loaded):
    def change(self, splits):
        return replace(splits, train=replace(splits.train, labels=splits.train.labels[1:]))


class FloatLabels(Loaded):
    def change(self, splits):
        return replace(splits, train=replace(splits.train, labels=splits.train.labels.astype(float)))


class OneLabel(Loaded):
    def change(self, splits):
        return replace(splits, train=replace(splits.train, labels=splits.train.labels * 0))


class ManyBinary(Loaded):
    def change(self, splits):
        return replace(splits, task=Task("binary", ("dark", "bright", "green")))


class NoKind(Loaded):
    def change(self, splits):
        return replace(splits, task=Task("regression", ("dark", "bright")))


class FloatImages(Loaded):
    def change(self, splits):
        return replace(splits, val=replace(splits.val, images=splits.val.images / 255))


class WrongChannels(Loaded):
    def change(self, splits):
        return replace(splits, train=replace(splits.train, channels="last"))


class Oblong(Loaded):
    def change(self, splits):
        return replace(splits, train=replace(splits.train, images=splits.train.images[:, :8]))


class PartOfTheRows(Loaded):
    def change(self, splits):
        return replace(splits, test=splits.test.pick(np.arange(5)))


class NoValidation(Sound):
    def counts(self):
        return {"train": 30, "val": 0, "test": 10}


class DrawnAnew(Sound):
    def drawn(self, rng, count, size):
        return super().drawn(np.random.default_rng(), count, size)


class DrawnFromPython(Sound):
    def drawn(self, rng, count, size):
        return super().drawn(np.random.default_rng(int(random.random() * 1e9)), count, size)  # noqa: S311  # this is the fault


class DrawnByTheDay(Sound):
    def drawn(self, rng, count, size):
        return super().drawn(stream(int(time.time() // 86_400), count), count, size)


class OneSize(Sound):
    """Ignores the requested size."""

    def load(self, request):
        return super().load(replace(request, image_size=12))


class OneDigest(Loaded):
    def change(self, splits):
        return replace(splits, digest="drawn")


class NoDigest(Loaded):
    def change(self, splits):
        return replace(splits, digest="")


class SitesOfSome(Loaded):
    def change(self, splits):
        return replace(splits, sites={"train": np.zeros(30, np.int64)})


class SitesByName(Loaded):
    def change(self, splits):
        names = {split: np.array(["a", "b"] * (count // 2)) for split, count in self.counts().items()}
        return replace(splits, sites=names)


class Tuples(Loaded):
    def change(self, splits):
        return splits.train, splits.val, splits.test


class Speechless(Sound):
    def load(self, request):
        if request.image_size:
            raise DataError("no")
        return super().load(request)


class WaitsForEver(Sound):
    """Never returns, before the first line of a case."""

    def load(self, request):
        while True:
            time.sleep(0.05)


class Litters(Sound):
    def load(self, request):
        Path("drawn.txt").write_text("not below request.cache")
        return super().load(request)


DEFECTS = {
    "d-tests-in-train": (TestsInTrain, "test images are train images too"),
    "d-validates-in-test": (ValidatesInTest, "test images are val images too"),
    "d-labels-from-one": (LabelsFromOne, "train has the label 2"),
    "d-labels-below-zero": (LabelsBelowZero, "val has the label -1"),
    "d-flat-labels": (FlatLabels, "test labels are (10,)"),
    "d-fewer-labels": (FewerLabels, "train labels are (29, 1)"),
    "d-float-labels": (FloatLabels, "expected integers"),
    "d-one-label": (OneLabel, "the same label"),
    "d-many-binary": (ManyBinary, "a binary task with 3 classes"),
    "d-no-kind": (NoKind, "the kind of task is"),
    "d-float-images": (FloatImages, "expected uint8"),
    "d-wrong-channels": (WrongChannels, "their channels 'last'"),
    "d-oblong": (Oblong, "expected square ones"),
    "d-part-of-the-rows": (PartOfTheRows, "has indices of a part of its images"),
    "d-no-validation": (NoValidation, "val has no images"),
    "d-drawn-anew": (DrawnAnew, "draw from stream"),
    "d-drawn-from-python": (DrawnFromPython, "global generator of random"),
    "d-drawn-by-the-day": (DrawnByTheDay, "another clock"),
    "d-one-size": (OneSize, "for a request of 17 pixels it gave 12"),
    "d-one-digest": (OneDigest, "include the size"),
    "d-no-digest": (NoDigest, "no digest"),
    "d-sites-of-some": (SitesOfSome, "sites for train"),
    "d-sites-by-name": (SitesByName, "expected integers"),
    "d-tuples-of-splits": (Tuples, "expected Splits"),
    "d-speechless": (Speechless, "explains nothing"),
    "d-waits-for-ever": (WaitsForEver, "no end after"),
    "d-litters": (Litters, "below request.cache"),
}


@hookimpl
def fedbench_register_datasets():
    return {name: defect for name, (defect, _) in DEFECTS.items()}
