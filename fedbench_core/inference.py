"""Models that a run kept, ready to classify images."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from fedbench_core.api import Backbone, Examples, Images, ModuleFactory, RequestError, RunError, Task, unknown
from fedbench_core.api.examples import scaled
from fedbench_core.federation.architectures import architecture_of_weights
from fedbench_core.federation.keeper import LAST, SELECTED
from fedbench_core.federation.kept import load
from fedbench_core.federation.predictor import logits
from fedbench_core.records.kept_models import MODELS, Index, KeptEntry, KeptPart, read_index, read_model
from fedbench_core.registry import registry

ROUNDS = (LAST, SELECTED)
"""The last round, and the one with the best validation score."""


class Classifier(nn.Module):
    """A model that a run kept. Calling it with images gives class probabilities.

    Images are uint8 (b, channels, image_size, image_size), the result is (b, classes); classes are in the order of
    `task.classes`. `net` is the network alone: it takes images in [-1, 1] and returns logits.
    """

    def __init__(self, net: nn.Module, task: Task, channels: int, image_size: int) -> None:
        super().__init__()
        self.net = net
        self.task = task
        self.channels = channels
        self.image_size = image_size

    def forward(self, images: Tensor) -> Tensor:
        """Class probabilities (b, classes) of images uint8 (b, C, H, W); RequestError for another shape or type."""
        shape = (self.channels, self.image_size, self.image_size)
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != shape:
            got = f"{images.dtype} {tuple(images.shape)}"
            raise RequestError(f"The model takes images as torch.uint8 {('b', *shape)}; got {got}.")
        return self.task.probabilities(self.net(scaled(images)))

    def predict(self, images: Images | Examples) -> Tensor:
        """Class probabilities (n, classes) of a dataset's images, in the batches in which a run scores them."""
        return self.task.probabilities(logits(self.net, images))


def load_model(run: Path | str, client: int | None = None, role: str = "", which: str = LAST) -> Classifier:
    """The model that a run kept for a client, in evaluation mode on the CPU.

    run: the run folder; client: None for a model that all clients have in common; role: the headline role by default;
    which: "last" for the last round, "selected" for the one with the best validation score.
    RequestError if the run kept no such model; RunError if its file is damaged, or its network can't be built here.
    """
    folder = Path(run)
    index = read_index(folder)
    entry = find(folder, index, client, role, which)
    if entry.file is None:
        raise RequestError(f"{_label(entry, client)} of {folder} was not kept: {entry.reason}.")
    parts, data = index.parts, index.data
    task = Task(data.task, tuple(data.classes))

    def backbone(name: str) -> Backbone:
        made = architecture_of_weights(name, parts["backbone"].options)
        return made.build(task.outputs, data.channels, data.image_size)

    blob = read_model(folder, index, entry.file)
    with _loading(folder / MODELS / entry.file):
        net = load(blob, backbone, {} if "backbone" in entry.network else _modules(parts))
    return Classifier(net, task, data.channels, data.image_size).eval()


def models(index: Index, which: str = LAST) -> list[KeptEntry]:
    """The models of a round, the headline role first; RequestError if none were kept of it."""
    if which not in ROUNDS:
        raise unknown("round of kept models", which, ROUNDS)
    if which not in index.rounds:
        raise RequestError(f"No round was selected on validation images. Use {LAST!r}.")
    found = index.rounds[which]
    if not found.models:
        raise RequestError(f"The models of the {which} round were not kept: {found.reason}.")
    return found.models


def find(folder: Path, index: Index, client: int | None, role: str, which: str) -> KeptEntry:
    """The entry of a model; RequestError if there is none, which names those that there are."""
    entries = models(index, which)
    roles = list(dict.fromkeys(one.role for one in entries))
    role = role or roles[0]
    if role not in roles:
        raise unknown("role", role, roles)
    same_role = [one for one in entries if one.role == role]
    clients = sorted({one for entry in same_role for one in entry.clients})
    wanted = clients if client is None else [client]
    found = [one for one in same_role if set(wanted) <= set(one.clients)]
    if not found:
        problem = "clients have models of their own" if client is None else f"client {client} has no model"
        raise RequestError(
            f"{folder}: {problem} in the role {role!r}. Give one of the clients {', '.join(map(str, clients))}."
        )
    return found[0]


def _label(entry: KeptEntry, client: int | None) -> str:
    return f"The model {entry.role!r}" + ("" if client is None else f" of client {client}")


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Name the file in errors of the block."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{path}: {error}") from error


def _modules(parts: Mapping[str, KeptPart]) -> dict[str, ModuleFactory]:
    """The modules that the run's local update and aggregator declare; RequestError if a plugin is missing."""
    kinds = ("local_update", "aggregator")
    made = [registry().make(kind, parts[kind].name, parts[kind].options) for kind in kinds]
    return {**made[0].modules, **made[1].modules}
