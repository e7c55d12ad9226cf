"""Record files: JSON documents with a digest, written and read.

The digest is the sha256 of the file without the line of the digest: `grep -v '^"digest"' record.json | sha256sum`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from fedbench_core.api.errors import DataError, RunError
from fedbench_core.api.limits import read_text
from fedbench_core.federation.files import replace_file
from fedbench_core.federation.spec import completed, digest_of
from fedbench_core.records.consistency import contradiction
from fedbench_core.records.messages import MESSAGES, messages_fault
from fedbench_core.records.passed import Passed
from fedbench_core.records.schema import schema_fault, short

FORMAT = 3
RECORD = "record.json"
TABLES = ("clients.csv", MESSAGES)
_DIGEST_LINE = re.compile(r'^"digest": ?"([0-9a-f]{64})",\n', re.MULTILINE)


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


def read_record(path: Path, passed: Passed | None = None) -> dict[str, Any]:
    """The record in a run folder or file.

    RecordError if it can't be read, was altered, has another format, lacks a value, or contradicts itself: what can be
    computed from other values of the record is computed again.

    The CSV files beside the record of a run must be those that the run wrote, if they are there.

    passed: files that were checked before.
    """
    file = path / RECORD if path.is_dir() else path
    try:
        text = read_text(file)
        record: dict[str, Any] = from_json(text, allow_inf_nan=False)
    except (OSError, ValueError, DataError) as error:
        raise RecordError(file, f"could not be read as a record: {error}") from None
    if not isinstance(record, dict):
        raise RecordError(file, f"could not be read as a record: it holds a {type(record).__name__}")
    (passed or Passed()).check(text, lambda: _check(file, text, record))
    if file.name == RECORD:
        for table in (file.with_name(name) for name in TABLES):
            if table.exists():
                check_table(table, record)
        if fault := messages_fault(file.with_name(MESSAGES), record["costs"]):
            raise RecordError(file.with_name(MESSAGES), fault, "Submit the files that the run wrote.")
    return _completed(record)


def _check(file: Path, text: str, record: Mapping[str, Any]) -> None:
    """RecordError for a record that has another format, was altered, lacks a value, or contradicts itself."""
    again = f"run it again: fedbench run --config {file}"
    if record.get("format") != FORMAT:
        number = record.get("format")
        newer = isinstance(number, int) and number > FORMAT
        advice = "Upgrade fedbench-core." if newer else f"{again[0].upper()}{again[1:]}"
        raise RecordError(file, f"has format {short(number)}; this fedbench reads format {FORMAT}", advice)
    if not _is_intact(text, record):
        advice = f"Restore the original file, or {again}"
        raise RecordError(file, "was altered: its digest does not match its contents", advice)
    if fault := schema_fault(record) or contradiction(record):
        raise RecordError(
            file, f"is not the record of a finished run: {fault}", "Submit the record that the run wrote."
        )


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
    """Whether the digest matches the text of the file, or its contents if only the formatting changed."""
    line = _DIGEST_LINE.search(text)
    if line and _digest(text[: line.start()] + text[line.end() :]) == line[1]:
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
