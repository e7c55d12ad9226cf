"""The folder `models` of a run: the models that were scored on the test images, and an index of them."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbench_core.api import RequestError, RunError
from fedbench_core.federation.files import File, make_folder, read, replace_file
from fedbench_core.federation.keeper import LAST, NOT_WANTED, SELECTED
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.progress import Progress
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.store import Store

MODELS, INDEX = "models", "index.json"
FORMAT = 1
Index = dict[str, Any]


def check_models_folder(folder: Path, run: ResolvedRun) -> None:
    """RequestError if the run folder's `models` holds something that this run did not write."""
    models = folder / MODELS
    if models.exists() and _read(models / INDEX).get("spec_digest") != run.spec.digest:
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
    made = folder / "state" / MODELS
    shutil.rmtree(made, ignore_errors=True)
    make_folder(made)
    where = {file.path.name: file for _, file in store.files()}
    files: dict[str, dict[str, Any]] = {}
    rounds = {which: _round(one, where, files, made) for which, one in stored.items()}
    index = {"format": FORMAT, **_description(run, partition), "rounds": rounds, "files": files}
    replace_file(made / INDEX, (json.dumps(index, indent=1) + "\n").encode(), durable=True)
    _move(made, folder / MODELS)


def _move(made: Path, target: Path) -> None:
    """Move a folder; where this run has written the target before it was stopped, file by file, the index last."""
    if not target.exists():
        made.rename(target)
        return
    for path in sorted(made.iterdir(), key=lambda path: path.name == INDEX):
        path.replace(target / path.name)
    made.rmdir()


def _round(
    kept: Mapping[str, Any], stored: Mapping[str, File], files: dict[str, dict[str, Any]], made: Path
) -> dict[str, Any]:
    """The models of a round, each with its file in `made`, which is added to `files`."""
    models = []
    for one in kept["models"]:
        name = None
        if one["file"] is not None:
            file = stored[one["file"]]
            name = _file_name(one)
            if name not in files:
                _link(file.path, made / name)
                files[name] = {"sha256": file.digest, "bytes": file.path.stat().st_size}
        models.append({**{key: one[key] for key in ("role", "of", "clients", "network", "reason")}, "file": name})
    return {"round": kept["round"], "models": models, "reason": kept["reason"]}


def _file_name(model: Mapping[str, Any]) -> str:
    """A readable name that equal models share."""
    network = model["network"]
    kind = network.get("backbone") or network.get("module") or network.get("class") or network["sequence"]
    safe = "".join(letter if letter.isalnum() or letter in "_." else "-" for letter in kind)
    return f"{safe}-{model['digest'][:12]}.safetensors"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        replace_file(target, source.read_bytes())


def _description(run: ResolvedRun, partition: Partition) -> dict[str, Any]:
    """What the models were made for, and the parts that build their networks."""
    splits, spec = partition.splits, run.spec
    parts = {"local_update": run.method.local_update, "aggregator": spec.aggregator, "backbone": ""}
    options = {part: _options(spec.set, part) for part in parts}
    return {
        "spec_digest": spec.digest,
        "method": spec.method,
        "backbones": list(run.backbones),
        "data": {
            "name": splits.name,
            "digest": splits.digest,
            "task": splits.task.kind,
            "classes": list(splits.task.classes),
            "channels": splits.channels,
            "image_size": splits.image_size,
        },
        "normalization": {"mean": [127.5], "std": [127.5]},
        "parts": {part: {"name": name, "options": options[part]} for part, name in parts.items()},
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
    if not index:
        return None
    sizes = [file["bytes"] for file in index["files"].values()]
    return Kept(len(sizes), sum(sizes), index["rounds"][LAST]["reason"])


def read_index(folder: Path) -> Index:
    """The index of the models in a run folder; RequestError if it has none, RunError if the index is damaged."""
    path = folder / MODELS / INDEX
    if not path.exists():
        raise RequestError(
            f"{folder} holds no models. Run it again and keep them: "
            f"fedbench run --config {folder / 'record.json'} --fresh --keep models"
        )
    index = _read(path)
    if index.get("format") != FORMAT:
        raise RunError(f"{path} could not be read as an index of models of format {FORMAT}. Run it again with --fresh.")
    return index


def read_model(folder: Path, index: Index, file: str) -> bytes:
    """The contents of a model's file; RunError if it is missing or damaged."""
    return read(File(folder / MODELS / file, index["files"][file]["sha256"]))


def _read(path: Path) -> Index:
    """The contents of an index; empty if it can't be read."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}
