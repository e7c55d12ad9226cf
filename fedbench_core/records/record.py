"""A run as one JSON document: how it is written, sealed with a digest, and read again.

A record's digest is the sha256 of its own file less the line that holds it:
`grep -v '^"digest"' record.json | sha256sum`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbench_core.api.errors import RunError
from fedbench_core.federation.files import replace_file

FORMAT = 2
RECORD = "record.json"
_SEAL = re.compile(r'^"digest": ?"([0-9a-f]{64})",\n', re.MULTILINE)


def sealed(contents: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the digest of what it says now."""
    return {**contents, "digest": _digest(_canonical(contents))}


def comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree between records of one run: everything but how it was computed, and for which suite."""
    return {name: value for name, value in record.items() if name not in ("how", "digest", "grid_point")}


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a sealed record, whole and on disk before it has its name: its presence means that the run is done."""
    replace_file(path, _text(record).encode(), durable=True)


def read_record(path: Path) -> dict[str, Any]:
    """The record in a run folder or file; RunError if it can't be read, was altered, or is of another format."""
    file = path / RECORD if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
        record: dict[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise RunError(f"{file} could not be read as a record: {error}.") from None
    if not isinstance(record, dict):
        raise RunError(f"{file} could not be read as a record: it holds a {type(record).__name__}.")
    if record.get("format") != FORMAT:
        number = record.get("format")
        raise RunError(f"{file} has format {number}; this fedbench reads format {FORMAT}. {_way(file, number)}")
    if not _whole(text, record):
        raise RunError(
            f"{file} was altered: its contents do not have the digest that it names. "
            f"Bring back the file as it was written, or run it again: fedbench run --config {file}"
        )
    return record


def _way(file: Path, number: object) -> str:
    newer = isinstance(number, int) and number > FORMAT
    return "Upgrade it." if newer else f"Run it again: fedbench run --config {file}"


def _whole(text: str, record: Mapping[str, Any]) -> bool:
    """Whether the digest fits: to the file as it stands, or (where an editor laid it out anew) to what it says."""
    seal = _SEAL.search(text)
    if seal and _digest(text[: seal.start()] + text[seal.end() :]) == seal[1]:
        return True
    try:
        return record.get("digest") == _digest(_canonical(record))
    except ValueError:  # an infinite number, which no record has
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(record: Mapping[str, Any]) -> str:
    """The text of a record less its digest."""
    return _text({name: value for name, value in record.items() if name != "digest"})


def _text(record: Mapping[str, Any]) -> str:
    """One line per block, in alphabetical order: small, and a difference shows where it is."""
    lines = (f"{json.dumps(name)}: {_compact(record[name])}" for name in sorted(record))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
