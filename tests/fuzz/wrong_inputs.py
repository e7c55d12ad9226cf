"""Wrong inputs of every kind: settings from the schema of a spec, config and suite files, records, data, options."""

import copy
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fedbench_core import RunSpec
from fedbench_core.records.record import _text, sealed
from fedbench_core.registry import KINDS, registry

Arguments = list[str]

SMALL = {"method": "fedavg", "dataset": "spots", "backbones": "tiny", "clients": 2, "rounds": 1, "steps": 1}
SCHEMA = RunSpec.model_json_schema()["properties"]

ODD = ("", " ", "nan", "inf", "-1", "1e400", "10" * 300, "0x10", "None", "true", "../../x", "/", "a" * 5000, "\x1b[31m")
ODD_NAMES = ("npz:", "npz:/", "folder:.", "npz:none.npz", "cuda:99", ",", "tiny,", "tiny,wide", "0.5", "{}", "\udc80")
texts = st.text(max_size=12) | st.sampled_from([*ODD, *ODD_NAMES, "\n", "[" * 2000])
numbers = st.integers() | st.floats() | st.sampled_from([0, -1, 2**31, 2**63, 10**400, 10**12, 0.1, 1e308, -0.0])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)


@dataclass(frozen=True)
class Family:
    """Inputs of one kind. `command`: writes what it needs into a folder, and returns the arguments of `fedbench`."""

    inputs: st.SearchStrategy[Any]
    command: Callable[[Path, Any], Arguments]


def flags(_folder: Path, wrong: dict[str, str]) -> Arguments:
    """Settings as flags: `run` for those that no spec accepts, and `partition`, which never trains, for others."""
    given = {**SMALL, **wrong}
    if "epochs" in wrong:
        del given["steps"]
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    return ["run" if not _accepted(given) else "partition", *words]


def config(folder: Path, wrong: dict[str, Any]) -> Arguments:
    """Settings of any type in a JSON file."""
    given = {**SMALL, **wrong}
    file = folder / "config.json"
    file.write_text(json.dumps(given))
    return ["run" if not _accepted(json.loads(file.read_text())) else "partition", f"--config={file}"]


def _accepted(given: dict[str, Any]) -> bool:
    try:
        RunSpec.of(given)
    except Exception:  # noqa: BLE001  # the command's answer is what counts
        return False
    return True


def file(folder: Path, wrong: tuple[str, bytes]) -> Arguments:
    """Files of any bytes, where a file of settings, a suite or a record belongs."""
    command, content = wrong
    path = folder / {"config": "any.toml", "suite": "any.toml"}.get(command, "any.json")
    path.write_bytes(content)
    return {
        "config": ["partition", f"--config={path}"],
        "json": ["partition", f"--config={path}"],
        "suite": ["suite", "status", str(path)],
        "record": ["plot", "matrix", str(path), str(folder / "plot.svg")],
        "leaderboard": ["leaderboard", str(folder / "any.toml"), "--folder", str(folder)],
    }[command]


documents = (
    st.binary(max_size=60)
    | texts.map(lambda text: text.encode("utf-8", "replace"))
    | values.map(lambda value: json.dumps(value).encode())
    | st.sampled_from(
        [
            b"[" * 50_000,
            b'{"a":' * 50_000,
            b"a = " + b"[" * 3000,
            b"\xff\xfe",
            b'{"format": 3}',
            b"1" * 5000,
            b"a=1\na=2",
        ]
    )
)

SUITE = {
    "name": "small",
    "question": "Does it help?",
    "seeds": 2,
    "datasets": ["spots"],
    "backbones": ["tiny"],
    "settings": {"clients": 3, "rounds": 2, "steps": 2, "set": {"partitioner.alpha": 0.5}},
    "partitions": [{"name": "Dirichlet 0.3", "partitioner": "dirichlet"}],
    "entries": [{"name": "local", "method": "local"}, {"method": "fedavg", "lr": 0.1}],
    "baselines": {"steps": "local", "controls": {"fedavg": "local"}},
}


def suite(folder: Path, wrong: tuple[int, Any]) -> Arguments:
    """A suite with one value replaced."""
    changed = replaced(SUITE, *wrong)
    path = folder / "small.toml"
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in changed.items()), encoding="utf-8")
    return ["suite", "status", str(path), "--out", str(folder)]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def replaced(document: Any, number: int, value: Any) -> Any:
    """The document with another value at one place."""
    where = places(document)[1:]
    *path, last = where[number % len(where)]
    document = copy.deepcopy(document)
    inner = document
    for key in path:
        inner = inner[key]
    inner[last] = value
    return document


def toml(value: Any) -> str:
    """A value in TOML; what TOML doesn't have becomes text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps("none" if value is None else value)


def record(folder: Path, wrong: tuple[int, Any, str]) -> Arguments:
    """A record with one value replaced, and a digest that matches."""
    number, value, command = wrong
    found = json.loads((folder / "run" / "record.json").read_text())
    changed = replaced({key: inner for key, inner in found.items() if key != "digest"}, number, value)
    (folder / "changed").mkdir(exist_ok=True)
    path = folder / "changed" / "record.json"
    try:
        path.write_text(_text(sealed(changed)))
    except ValueError:  # NaN: a digest can't be made, but a file can
        path.write_text(json.dumps(changed))
    return {
        "plot": ["plot", "matrix", str(path), str(folder / "plot.svg")],
        "resume": ["resume", str(path.parent), "--executor", "serial"],
        "submit": ["submit", str(path), "--suite", str(folder / "suites" / "small.toml")],
        "partition": ["partition", f"--config={path}"],
    }[command]


def npz(folder: Path, wrong: tuple[str, Any]) -> Arguments:
    """An npz file with one array replaced by another, or by any bytes."""
    key, content = wrong
    path = folder / "own.npz"
    np.savez(path, **ARRAYS)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[f"{key}.npy"] = content if isinstance(content, bytes) else _npy(content)
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return ["partition", f"--dataset=npz:{path}", "--clients=2"]


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


SIZES = {"train": 12, "val": 6, "test": 6}
ARRAYS = {
    **{f"{split}_images": np.zeros((size, 8, 8), np.uint8) for split, size in SIZES.items()},
    **{f"{split}_labels": np.arange(size) % 3 for split, size in SIZES.items()},
}
keys = st.sampled_from([*ARRAYS, *(f"{split}_sites" for split in SIZES), "classes"])
arrays = st.builds(
    lambda dtype, shape, fill: np.full(shape, fill).astype(dtype),
    st.sampled_from(["u1", "i1", "i8", "u8", "f4", "f2", "?", "c8", "M8[s]"]) | st.sampled_from(["U3", "S3"]),
    st.lists(st.integers(0, 12), max_size=5).map(tuple),
    st.sampled_from([0, 1, 2, 255]),
)


def folder_data(folder: Path, wrong: tuple[str, bytes]) -> Arguments:
    """A folder of images with another CSV file, or with a file that is no image."""
    name, content = wrong
    data = folder / "images"
    data.mkdir(exist_ok=True)
    rows = ["file,label"]
    for number in range(12):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(data / f"{number}.png")
        rows.append(f"{number}.png,{number % 2}")
    (data / "labels.csv").write_text("\n".join(rows))
    (data / name).write_bytes(content)
    return ["partition", f"--dataset=folder:{data}", "--clients=2", "--set=dataset.test=0.4", "--set=dataset.val=0.4"]


csv = st.lists(
    st.lists(
        st.sampled_from(["file", "label", "split", "0.png", "1.png", "../x", "train", "9", '"', "\0", ""]) | texts,
        max_size=4,
    )
).map(lambda rows: "\n".join([",".join(row) for row in rows]).encode("utf-8", "replace"))


def option(_folder: Path, wrong: tuple[int, str]) -> Arguments:
    """Any text as the value of any option of any part."""
    number, value = wrong
    known = [
        (kind, name, one.name)
        for kind in KINDS
        if kind not in ("method", "backbone", "local_update")
        for name in registry().names(kind)
        if registry().describe(kind, name).distribution != "fedbench-kit"
        for one in registry().options(kind, name)
    ]
    kind, name, key = known[number % len(known)]
    words = {**SMALL, kind: name, "set": f"{kind}.{key}={value}"}
    return ["partition", *(f"--{flag}={word}" for flag, word in words.items())]


def arguments(_folder: Path, wrong: Arguments) -> Arguments:
    """Any words after any command."""
    return wrong


typed = texts.filter(lambda text: "\0" not in text)
"""No argument of a process has a null byte."""
WORDS = (
    *("show", "list", "list methods", "submit", "plot", "leaderboard", "suite", "suite status", "resume", "plugin"),
    *("plugin check none", "plugin new", "partition --config", "partition --set", ""),
)
"""Without a name, `plugin check` runs for minutes, and that is right."""
COMMANDS = st.sampled_from(WORDS).map(str.split)

FAMILIES = {
    "flags": Family(
        st.dictionaries(
            st.sampled_from(sorted(SCHEMA.keys() - {"set", "pretrained", "allow_unofficial"})),
            texts | numbers.map(str),
            min_size=1,
            max_size=2,
        ),
        flags,
    ),
    "settings in a file": Family(
        st.dictionaries(st.sampled_from(sorted(SCHEMA)), values, min_size=1, max_size=2), config
    ),
    "any file": Family(
        st.tuples(st.sampled_from(["config", "json", "suite", "record", "leaderboard"]), documents), file
    ),
    "suite": Family(st.tuples(st.integers(0, 200), values), suite),
    "record": Family(
        st.tuples(st.integers(0, 500), values, st.sampled_from(["submit", "partition", "plot", "resume"])), record
    ),
    "npz": Family(st.tuples(keys, arrays | st.binary(max_size=40)), npz),
    "folder": Family(
        st.tuples(st.just("labels.csv"), csv)
        | st.tuples(st.sampled_from(["0.png", "labels.csv", "7.png"]), st.binary(max_size=60)),
        folder_data,
    ),
    "option": Family(st.tuples(st.integers(0, 200), texts | numbers.map(str) | values.map(json.dumps)), option),
    "words": Family(
        st.tuples(COMMANDS, st.lists(typed | st.just("--json"), max_size=2)).map(lambda pair: [*pair[0], *pair[1]]),
        arguments,
    ),
}
