"""The folder `models` of a run: the models that were scored on the test images, and an index of them."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from fedbench_core.api import DataError, RequestError, RunError
from fedbench_core.api.limits import parse_json, read_text
from fedbench_core.api.task import Kind
from fedbench_core.federation.files import File, make_folder, read, replace_file, writing
from fedbench_core.federation.keeper import LAST, NOT_WANTED, SELECTED
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.progress import Progress
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.spec import digest_of
from fedbench_core.federation.store import INCOMPLETE_MODELS, Store
from fedbench_core.records.folder import is_done

MODELS, INDEX = "models", "index.json"
_PARTS = ("local_update", "aggregator", "backbone")


class KeptEntry(BaseModel):
    """A model of a round: its role, the clients that it serves, and its file; `reason` if there is none.

    of: "client" for a client's own, "received" for one that clients have in common, "server" for one of the server's;
    network: how it is built (see `federation.kept`).
    """

    role: str
    of: Literal["client", "received", "server"]
    clients: list[int]
    network: dict[str, Any]
    reason: str
    file: Annotated[str, Field(pattern=r"^[^/\\]+$")] | None


class KeptRound(BaseModel):
    """The models of a round, the headline role first; `reason` if none were kept."""

    round: int
    models: list[KeptEntry]
    reason: str


class KeptFile(BaseModel):
    """A file of a model."""

    sha256: str
    bytes: int


class KeptData(BaseModel):
    """What the models were trained on: the names of the classes are in the order of the outputs."""

    name: str
    digest: str
    task: Kind
    classes: list[str]
    channels: int
    image_size: int


class KeptPart(BaseModel):
    """A part of the run and its options."""

    name: str
    options: dict[str, Any]


class Index(BaseModel):
    """The contents of `models/index.json`. digest: sha256 of the rest in canonical JSON; earlier versions wrote none.

    A network takes images in [-1, 1]: pixel / 127.5 - 1. A backbone with a `normalization` subtracts its mean from
    pixels between 0 and 1, and divides by its standard deviation.
    """

    format: Literal[1] = 1
    spec_digest: str
    method: str
    data: KeptData
    parts: dict[str, KeptPart]
    rounds: dict[str, KeptRound]
    files: dict[str, KeptFile]
    digest: str = ""

    @property
    def own_digest(self) -> str:
        """The digest of these contents."""
        return digest_of(self.model_dump(mode="json", exclude={"digest"}))

    @model_validator(mode="after")
    def _check_digest(self) -> Self:
        if self.digest not in ("", self.own_digest):
            raise ValueError("it was altered: its digest does not match its contents")
        return self

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        named = {one.file for kept in self.rounds.values() for one in kept.models} - {None}
        if unknown := named - self.files.keys():
            raise ValueError(f"files does not have {', '.join(sorted(map(str, unknown)))}")
        if missing := ({LAST} - self.rounds.keys()) | ({*_PARTS} - self.parts.keys()):
            raise ValueError(f"it does not have {', '.join(sorted(missing))}")
        return self


def check_models_folder(folder: Path, run: ResolvedRun) -> None:
    """RequestError if the run folder's `models` holds something that this run did not write."""
    models = folder / MODELS
    if not models.exists():
        return
    index = _read(models / INDEX)
    if index is None or index.spec_digest != run.spec.digest:
        raise RequestError(f"{models} holds files that this run did not write. Move it away, then run again.")


def write_models(folder: Path, store: Store, progress: Progress, run: ResolvedRun, partition: Partition) -> None:
    """Move the stored models into the run folder's `models`, all or none; equal ones become one file.

    The stored files stay until the run is recorded, so that a run which is stopped here can be resumed.
    """
    check_models_folder(folder, run)
    stored = dict(progress.models)
    if progress.selected is not None and progress.selected["round"] == progress.round - 1:
        stored[SELECTED] = stored[LAST]
    if all(one["reason"] == NOT_WANTED for one in stored.values()):
        return
    made = folder / "state" / INCOMPLETE_MODELS
    shutil.rmtree(made, ignore_errors=True)
    make_folder(made)
    where = {file.path.name: file for _, file in store.files()}
    files: dict[str, KeptFile] = {}
    rounds = {which: _round(one, where, files, made) for which, one in stored.items()}
    index = Index(**_description(run, partition), rounds=rounds, files=files)
    index = index.model_copy(update={"digest": index.own_digest})
    # sorted, because a resumed run has read some descriptions from its journal, whose keys are sorted
    text = json.dumps(index.model_dump(mode="json"), indent=1, sort_keys=True)
    replace_file(made / INDEX, f"{text}\n".encode(), durable=True)
    with writing(folder / MODELS):
        _move(made, folder / MODELS)


def _move(made: Path, target: Path) -> None:
    """Move a folder; where this run has written the target before it was stopped, file by file, the index last."""
    if not target.exists():
        made.rename(target)
        return
    for path in sorted(made.iterdir(), key=lambda path: path.name == INDEX):
        path.replace(target / path.name)
    made.rmdir()


def _round(stored: Mapping[str, Any], where: Mapping[str, File], files: dict[str, KeptFile], made: Path) -> KeptRound:
    """The models of a round, each with its file in `made`, which is added to `files`."""
    models = []
    for one in stored["models"]:
        name = None
        if one["file"] is not None:
            file, name = where[one["file"]], _file_name(one)
            if name not in files:
                _link(file.path, made / name)
                files[name] = KeptFile(sha256=file.digest, bytes=file.path.stat().st_size)
        fields = {key: one[key] for key in ("role", "of", "clients", "network", "reason")}
        models.append(KeptEntry(**fields, file=name))
    return KeptRound(round=stored["round"], models=models, reason=stored["reason"])


def _file_name(model: Mapping[str, Any]) -> str:
    """A readable name that equal models share."""
    network = model["network"]
    kind = network.get("backbone") or network.get("module") or network.get("class") or network["sequence"]
    safe = "".join(one if one.isalnum() or one in "_." else "-" for one in kind)
    return f"{safe}-{model['digest'][:12]}.safetensors"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        replace_file(target, source.read_bytes())


def _description(run: ResolvedRun, partition: Partition) -> dict[str, Any]:
    """What the models were made for, and the parts that build their networks."""
    splits, spec = partition.splits, run.spec
    names = dict(zip(_PARTS, (run.method.local_update, str(spec.aggregator), ""), strict=True))
    data = KeptData(
        name=splits.name,
        digest=splits.digest,
        task=splits.task.kind,
        classes=list(splits.task.classes),
        channels=splits.channels,
        image_size=splits.image_size,
    )
    return {
        "spec_digest": spec.digest,
        "method": spec.method,
        "data": data,
        "parts": {part: KeptPart(name=name, options=_options(spec.set, part)) for part, name in names.items()},
    }


def _options(given: Mapping[str, Any], part: str) -> dict[str, Any]:
    return {key.partition(".")[2]: value for key, value in given.items() if key.partition(".")[0] == part}


@dataclass(frozen=True)
class Kept:
    """The number of model files in a run folder and their size in bytes; or the reason why there are none."""

    files: int
    size: int
    reason: str


def kept(folder: Path) -> Kept | None:
    """What a run folder holds of models; None without an index."""
    index = _read(folder / MODELS / INDEX)
    if index is None:
        return None
    sizes = [file.bytes for file in index.files.values()]
    return Kept(len(sizes), sum(sizes), index.rounds[LAST].reason)


def read_index(folder: Path) -> Index:
    """The index of the models in a run folder; RequestError if it has none, RunError if the index is damaged."""
    path = folder / MODELS / INDEX
    if not is_done(folder):
        raise RequestError(f"{folder} is not the folder of a finished run. `fedbench runs` lists yours.")
    if not path.exists():
        raise RequestError(
            f"{folder} holds no models. Run it again and keep them: "
            f"fedbench run --config {folder / 'record.json'} --fresh --keep models"
        )
    index = _read(path)
    if index is None:
        raise RunError(f"{path} could not be read as an index of models of format 1. Run it again with --fresh.")
    return index


def read_model(folder: Path, index: Index, file: str) -> bytes:
    """The contents of a model's file; RunError if it is missing or damaged."""
    return read(File(folder / MODELS / file, index.files[file].sha256))


def _read(path: Path) -> Index | None:
    """The contents of an index; None if it can't be read."""
    try:
        return Index.model_validate(parse_json(read_text(path)))
    except (OSError, ValueError, DataError):
        return None
