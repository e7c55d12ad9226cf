"""Record files: JSON documents with a digest, written and read.

The digest is the sha256 of the file without the line of the digest: `grep -v '^"digest"' record.json | sha256sum`.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from fedbench_core.api.errors import DataError, RunError
from fedbench_core.api.limits import read_text
from fedbench_core.federation.files import replace_file
from fedbench_core.federation.spec import completed, digest_of
from fedbench_core.records.consistency import contradictions
from fedbench_core.records.messages import MESSAGES, messages_fault
from fedbench_core.records.passed import Passed
from fedbench_core.records.schema import schema_fault, short

FORMAT = 3
RECORD = "record.json"
TABLES = ("clients.csv", MESSAGES)
_TOGETHER = 256
"""Records that are checked together."""
_DIGEST_LINE = re.compile(r'\n"digest": ?"([0-9a-f]{64})",(?=\n)')


def sealed(contents: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the digest of its contents."""
    return {**contents, "digest": _digest(_canonical(contents))}


def comparable(record: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks that are equal for equal runs: all but `how`, `digest` and `grid_point`."""
    return {name: value for name, value in record.items() if name not in ("how", "digest", "grid_point")}


def comparable_pair(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The comparable blocks of two records, without what only one of them has: earlier versions did not write it."""
    first, second = comparable(one), comparable(other)
    if not all("tables" in block for block in (first, second)):
        for block in (first, second):
            block.pop("tables", None)
    if not all("predicted" in block["test"] for block in (first, second)):
        for block in (first, second):
            block["test"] = _without_predictions(block["test"])
    if not all("auc_images" in block["test"] for block in (first, second)):
        for block in (first, second):
            block["test"] = {name: value for name, value in block["test"].items() if name != "auc_images"}
    return first, second


def _without_predictions(test: Mapping[str, Any]) -> dict[str, Any]:
    """The block `test` as earlier versions wrote it."""
    kept = {name: value for name, value in test.items() if name not in ("predicted", "labels")}
    roles = {role: {**own} for role, own in test["roles"].items()}
    for own in roles.values():
        own.pop("predicted", None)
    return {**kept, "roles": roles}


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a sealed record and then rename it to `path`, so that a file of that name is always complete."""
    replace_file(path, _text(record).encode(), durable=True)


class RecordError(RunError):
    """A file that is no record of a run: its path, what is wrong, and what to do."""

    def __init__(self, path: Path, reason: str, advice: str = "") -> None:
        super().__init__(f"{path} {reason}.{advice and ' ' + advice}")
        self.path = path
        self.reason = reason


def read_record(path: Path) -> dict[str, Any]:
    """The record in a run folder or file.

    RecordError if it can't be read, was altered, has another format, lacks a value, or contradicts itself: what can be
    computed from other values of the record is computed again.

    The CSV files beside the record of a run must be those that the run wrote, if they are there; RunError otherwise.
    """
    (found,) = read_records([path])
    if isinstance(found, RunError):
        raise found
    return found


def read_records(paths: Sequence[Path], passed: Passed | None = None) -> Iterator[dict[str, Any] | RunError]:
    """The records in run folders or files, in their order, or what `read_record` raises.

    Many are checked in less time together than one by one. passed: files that were checked before.
    """
    for start in range(0, len(paths), _TOGETHER):
        yield from _read_some(paths[start : start + _TOGETHER], passed or Passed())


@dataclass(frozen=True)
class _Loaded:
    """A file, its text, and the value in it."""

    file: Path
    text: str
    record: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """Of the whole file."""
        return _digest(self.text)


def _read_some(paths: Sequence[Path], passed: Passed) -> Iterator[dict[str, Any] | RunError]:
    loaded = list(map(_loaded, paths))
    readable = [one for one in loaded if isinstance(one, _Loaded)]
    new = [one for one, known in zip(readable, passed.known(one.digest for one in readable), strict=True) if not known]
    faults = {one.file: fault for one, fault in zip(new, _faults(new), strict=True)}
    passed.add(one.digest for one in new if faults[one.file] is None)
    for one in loaded:
        if isinstance(one, RecordError):
            yield one
        else:
            yield faults.get(one.file) or _table_fault(one) or _completed(one.record)


def _loaded(path: Path) -> _Loaded | RecordError:
    file = path / RECORD if path.is_dir() else path
    try:
        text = read_text(file)
        record = from_json(text, allow_inf_nan=False)
    except (OSError, ValueError, DataError) as error:
        return RecordError(file, f"could not be read as a record: {error}")
    if not isinstance(record, dict):
        return RecordError(file, f"could not be read as a record: it holds a {type(record).__name__}")
    return _Loaded(file, text, record)


def _faults(loaded: Sequence[_Loaded]) -> list[RecordError | None]:
    """For each record the error if it has another format, was altered, lacks a value, or contradicts itself."""
    faults = [_form_fault(one) for one in loaded]
    sound = [one.record for one, fault in zip(loaded, faults, strict=True) if fault is None]
    contradicting = iter(contradictions(sound))
    return [
        fault or (_unfinished(one, reason) if (reason := next(contradicting)) else None)
        for one, fault in zip(loaded, faults, strict=True)
    ]


def _form_fault(one: _Loaded) -> RecordError | None:
    again = f"run it again: fedbench run --config {one.file}"
    if one.record.get("format") != FORMAT:
        number = one.record.get("format")
        newer = isinstance(number, int) and number > FORMAT
        advice = "Upgrade fedbench-core." if newer else f"{again[0].upper()}{again[1:]}"
        return RecordError(one.file, f"has format {short(number)}; this fedbench reads format {FORMAT}", advice)
    if not _is_intact(one.text, one.record):
        advice = f"Restore the original file, or {again}"
        return RecordError(one.file, "was altered: its digest does not match its contents", advice)
    fault = _overflow(one.record) or schema_fault(one.record)
    return _unfinished(one, fault) if fault else None


def _overflow(record: Mapping[str, Any]) -> str:
    """The fault of a number that is read as infinite, also where the schema names no value; "" if there is none."""
    try:
        if b"Infinity" in to_json(record, inf_nan_mode="constants"):  # the word may also be in a text
            _canonical(record)
    except ValueError:
        return "it holds a number above 1e308"
    return ""


def _unfinished(one: _Loaded, fault: str) -> RecordError:
    return RecordError(
        one.file, f"is not the record of a finished run: {fault}", "Submit the record that the run wrote."
    )


def _table_fault(one: _Loaded) -> RunError | None:
    """The error if a CSV file beside the record of a run is not the one that the run wrote."""
    if one.file.name != RECORD:
        return None
    try:
        for table in (one.file.with_name(name) for name in TABLES):
            if table.exists():
                check_table(table, one.record)
    except RunError as error:
        return error
    messages = one.file.with_name(MESSAGES)
    fault = messages_fault(messages, one.record["costs"])
    return RecordError(messages, fault, "Submit the files that the run wrote.") if fault else None


def check_table(path: Path, record: Mapping[str, Any]) -> None:
    """RunError if a CSV file of a run can't be read, or has another digest than its record; older ones have none."""
    tables = record.get("tables")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"{path} could not be read: {error.strerror}.") from error
    if tables is not None and (not isinstance(tables, dict) or tables.get(path.name) != digest):
        raise RunError(f"{path} was altered: its digest is not that in the record. Restore the file, or use --fresh.")


def _completed(record: dict[str, Any]) -> dict[str, Any]:
    """A record of an earlier version with all settings of this one."""
    whole = completed(record["spec"])
    return record if whole == record["spec"] else {**record, "spec": whole, "spec_digest": digest_of(whole)}


def _is_intact(text: str, record: Mapping[str, Any]) -> bool:
    """Whether the digest matches the text of the file, or its contents if only the formatting changed.

    The line must hold the digest that is read: of two in one file, the last one is.
    """
    line = _DIGEST_LINE.search(text)
    if line and line[1] == record.get("digest") and _digest(text[: line.start()] + text[line.end() :]) == line[1]:
        return True
    try:
        return record.get("digest") == _digest(_canonical(record))
    except ValueError:  # a number with more digits than Python converts
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(record: Mapping[str, Any]) -> str:
    """The text of a record without its digest."""
    return _text({name: value for name, value in record.items() if name != "digest"})


def _text(record: Mapping[str, Any]) -> str:
    """One line per block, in alphabetical order: compact, and readable in a diff."""
    lines = (f"{json.dumps(name)}: {_compact(record[name])}" for name in sorted(record))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
