"""What a kept model predicts for images of a folder, an npz file or a dataset."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fedbench_core.api import SPLITS, DataRequest, RequestError, Splits, Task, unknown
from fedbench_core.api.metrics import THRESHOLD
from fedbench_core.data.pictures import Fit
from fedbench_core.data.unlabeled import Unlabeled, is_picture, read_folder, read_npz, read_pictures
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.partition import load
from fedbench_core.federation.spec import RunSpec
from fedbench_core.inference import Classifier
from fedbench_core.registry import registry

_COLOR, _GRAY = 3, 1


def images_for(
    model: Classifier, source: str, request: DataRequest, split: str = "test", fit: Fit = "pad"
) -> Unlabeled:
    """The images that `source` names: a PNG or JPEG file or a folder of them, an npz file, or a split of a dataset.

    fit: how pictures that are not square become square. RequestError for images that the model does not take, or of
    other classes.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    path = Path(source).expanduser()
    if path.is_dir() or is_picture(path):
        if model.channels not in (_GRAY, _COLOR):
            raise RequestError(f"The model takes images of {model.channels} channels; pictures have 1 or 3. Use npz.")
        size, color = model.image_size, model.channels == _COLOR
        if path.is_dir():
            found = read_folder(path, size, color=color, fit=fit)
        else:
            found = read_pictures(path.parent, [path], size, color=color, fit=fit)
    elif path.is_file():
        found = read_npz(path, split)
    else:
        found = _of_dataset(source, model, request, split)
    _check(model, found)
    return found


def _of_dataset(source: str, model: Classifier, request: DataRequest, split: str) -> Unlabeled:
    """A split of a dataset; RequestError if `source` is no name of one, either."""
    if "/" in source.partition(":")[0] or Path(source).suffix:
        raise RequestError(f"There is no folder or file {source}. Give a folder, an npz file, or a dataset's name.")
    if source not in (known := registry().names("dataset")) and ":" not in source:
        raise unknown("folder, file or dataset", source, known)
    run = resolve(RunSpec.of({"method": "local", "dataset": source}))
    sized = source.partition(":")[0] != "npz"  # its images are not resized
    splits: Splits = load(run, replace(request, image_size=model.image_size if sized else None))
    names = [str(file) for file in splits.files[split]] if split in splits.files else None
    return Unlabeled(source, getattr(splits, split).without_labels(), names, splits.task.classes)


def rows(model: Classifier, found: Unlabeled) -> Iterator[dict[str, Any]]:
    """A row per image: its `file` or `index`, the probability `p_CLASS` of each class, and `predicted`."""
    probabilities = model.predict(found.images)
    for index, (values, predicted) in enumerate(zip(probabilities, _predicted(model.task, probabilities), strict=True)):
        name = {"index": index} if found.names is None else {"file": found.names[index]}
        shares = {
            f"p_{kind}": float(f"{float(value):.9g}") for kind, value in zip(model.task.classes, values, strict=True)
        }
        yield {**name, **shares, "predicted": predicted}


def _predicted(task: Task, probabilities: Tensor) -> list[str]:
    """The predicted class of each image; several labels are separated by semicolons."""
    if task.kind != "multi-label":
        return [task.classes[at] for at in probabilities.argmax(dim=1).tolist()]
    return [";".join(task.classes[at] for at in row.nonzero()[:, 0].tolist()) for row in probabilities >= THRESHOLD]


def _channels(count: int) -> str:
    return f"{count} channel{'' if count == 1 else 's'}"


def _check(model: Classifier, found: Unlabeled) -> None:
    """RequestError for images that the model does not take, or that come with other classes."""
    images = found.images
    shape = images.images.shape
    got = int({"none": 1, "last": shape[-1], "first": shape[1]}[images.channels])
    if got != model.channels:
        raise RequestError(
            f"{found.source} has images with {_channels(got)}; the model takes {_channels(model.channels)}. Give such "
            f"images, or a model of a run on images with {_channels(got)}."
        )
    height, width = shape[2:4] if images.channels == "first" else shape[1:3]
    if (height, width) != (model.image_size, model.image_size):
        raise RequestError(
            f"{found.source} has images of {height} x {width} pixels; the model takes {model.image_size} x "
            f"{model.image_size}. Resize them, or give a folder of pictures, which are resized."
        )
    if found.classes is not None and found.classes != model.task.classes:
        raise RequestError(
            f"{found.source} has the classes {', '.join(found.classes)}; the model was trained on "
            f"{', '.join(model.task.classes)}. Give images of those classes, or an npz file without `classes`."
        )
