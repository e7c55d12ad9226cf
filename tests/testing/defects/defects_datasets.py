"""Datasets that each do one thing wrong: {name: (class, the case that shows it, a part of its message)}."""

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


class SiteWithoutName(Loaded):
    def change(self, splits):
        numbers = {split: np.arange(count) % 2 for split, count in self.counts().items()}
        return replace(splits, sites=numbers, site_names=("a",))


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
    "d-tests-in-train": (TestsInTrain, "splits_are_disjoint[train-test]", "test images are train images too"),
    "d-validates-in-test": (ValidatesInTest, "splits_are_disjoint[val-test]", "test images are val images too"),
    "d-labels-from-one": (LabelsFromOne, "labels_fit_the_task", "train has the label 2"),
    "d-labels-below-zero": (LabelsBelowZero, "labels_fit_the_task", "val has the label -1"),
    "d-flat-labels": (FlatLabels, "labels_fit_the_task", "test labels are (10,)"),
    "d-fewer-labels": (FewerLabels, "labels_fit_the_task", "train labels are (29, 1)"),
    "d-float-labels": (FloatLabels, "labels_fit_the_task", "expected integers"),
    "d-one-label": (OneLabel, "labels_fit_the_task", "the same label"),
    "d-many-binary": (ManyBinary, "labels_fit_the_task", "a binary task with 3 classes"),
    "d-no-kind": (NoKind, "labels_fit_the_task", "the kind of task is"),
    "d-float-images": (FloatImages, "images_have_one_form", "expected uint8"),
    "d-wrong-channels": (WrongChannels, "images_have_one_form", "their channels 'last'"),
    "d-oblong": (Oblong, "images_have_one_form", "expected square ones"),
    "d-part-of-the-rows": (PartOfTheRows, "images_have_one_form", "has indices of a part of its images"),
    "d-no-validation": (NoValidation, "depends_on_nothing_outside[clock]", "val has no images"),
    "d-drawn-anew": (DrawnAnew, "same_request_same_images", "draw from stream"),
    "d-drawn-from-python": (DrawnFromPython, "global_state_is_untouched", "global generator of random"),
    "d-drawn-by-the-day": (DrawnByTheDay, "depends_on_nothing_outside[clock]", "another clock"),
    "d-one-size": (OneSize, "image_size_is_kept_or_refused", "for a request of 17 pixels it gave 12"),
    "d-one-digest": (OneDigest, "image_size_is_kept_or_refused", "include the size"),
    "d-no-digest": (NoDigest, "is_named", "no digest"),
    "d-sites-of-some": (SitesOfSome, "sites_are_numbered", "sites for train"),
    "d-site-without-name": (SiteWithoutName, "sites_are_numbered", "there are 1 names"),
    "d-sites-by-name": (SitesByName, "sites_are_numbered", "expected integers"),
    "d-tuples-of-splits": (Tuples, "depends_on_nothing_outside[clock]", "expected Splits"),
    "d-speechless": (Speechless, "image_size_is_kept_or_refused", "explains nothing"),
    "d-waits-for-ever": (WaitsForEver, "is_named", "no end after"),
    "d-litters": (Litters, "writes_to_its_cache_only", "below request.cache"),
}


@hookimpl
def fedbench_register_datasets():
    return {name: defect for name, (defect, _, _) in DEFECTS.items()}
