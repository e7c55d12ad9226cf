"""Test images with what a model that the run kept predicts for them: right and wrong examples."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fedbench_core.api import Examples, FedbenchError, RequestError
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.partition import load
from fedbench_core.federation.spec import RunSpec
from fedbench_core.inference import Classifier, load_model
from fedbench_core.runner import How

_MOST_IMAGES = 500
_SHOWN = 8
"""Right and wrong examples."""
_SIDE = 96
"""Pixels of an example in the report; smaller images stay as they are."""


@dataclass(frozen=True)
class Example:
    """A test image as a data URI, its class, and the predicted class with its probability."""

    uri: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Sample:
    """Predictions of one model: which images, and examples."""

    text: str
    right: Sequence[Example]
    wrong: Sequence[Example]


def read_sample(folder: Path, record: Mapping[str, Any]) -> tuple[Sample | None, str]:
    """What client 0's model predicts for the first test images; or None and the reason."""
    if record["data"]["task"] == "multi-label":
        return None, "Example images are shown for tasks with one class per image."
    try:
        return _sample(load_model(folder, client=0), _test_images(record), record), ""
    except FedbenchError as error:  # a plugin, a file of images or a model is missing: the rest of the page stands
        return None, f"Example images are left out: {error}"


def _test_images(record: Mapping[str, Any]) -> Examples:
    run = resolve(RunSpec.of(record["spec"]))
    root = record["how"].get("data_root")
    splits = load(run, How(data_root=Path(root) if root else None).request(run.spec))
    if (splits.digest, list(splits.task.classes)) != (record["data"]["digest"], record["data"]["classes"]):
        raise RequestError(f"the images of {splits.name} are not those of the run.")
    test = splits.test
    return test.pick(np.arange(min(_MOST_IMAGES, len(test))))


def _sample(model: Classifier, test: Examples, record: Mapping[str, Any]) -> Sample:
    if list(model.task.classes) != record["data"]["classes"]:
        raise RequestError("the kept model has other classes than the record.")
    probabilities = model.predict(test).numpy()
    predicted, labels, names = probabilities.argmax(axis=1), test.targets().numpy(), record["data"]["classes"]

    def examples(right: bool) -> list[Example]:
        found = np.flatnonzero((predicted == labels) == right)[:_SHOWN]
        return [
            Example(_uri(test, at), names[labels[at]], names[predicted[at]], float(probabilities[at].max()))
            for at in found.tolist()
        ]

    images = record["data"]["images"]["test"]
    which = f"the {images} test images" if len(test) == images else f"the first {len(test)} of {images} test images"
    return Sample(
        f"Predictions of the model of client 0 after the last round, for {which}.",
        examples(True),
        examples(False),
    )


def _uri(test: Examples, at: int) -> str:
    """An image as a PNG; of a volume, its middle slice."""
    pixels = np.asarray(test.images[test.indices[at]])
    image = Image.fromarray(pixels[len(pixels) // 2] if test.channels == "first" else pixels)
    image.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
