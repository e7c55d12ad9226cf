"""Verifications of filed records: who repeated a run with equal results, when, and with which versions.

They rest beside the records, in `verified/`, and name the digest of the record that they are about: a record that is
replaced is not verified any more. They are statements, not proofs: the history of the repository shows who made them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fedbench_core.api.errors import DataError
from fedbench_core.api.limits import read_text
from fedbench_core.federation.files import make_folder, replace_file
from fedbench_core.records.record import RecordError
from fedbench_core.records.schema import Digest

FOLDER = "verified"
LONGEST_NAME = 200
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"\S")]


class Verification(BaseModel):
    """Somebody's statement that a run was repeated. record: the digest of the record; at: UTC, ISO 8601."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    by: Name
    at: str
    record: Digest
    versions: dict[str, str]


_LIST = TypeAdapter(list[Verification])


def path_of(record: Path) -> Path:
    """The file of the verifications of a filed record."""
    return record.parent / FOLDER / record.name


def read_verifications(record: Path) -> list[Verification]:
    """The verifications of a filed record, also of earlier records of that name; RecordError for a bad file."""
    path = path_of(record)
    if not path.exists():
        return []
    try:
        return _LIST.validate_json(read_text(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise RecordError(
            path, f"is no list of verifications: {'.'.join(map(str, first['loc']))} {first['msg']}"
        ) from None
    except (OSError, ValueError, DataError) as error:
        raise RecordError(path, f"could not be read: {error}") from None


def verified_by(path: Path, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Who verified this very record; RecordError for a bad file."""
    found = read_verifications(path)
    return tuple(dict.fromkeys(one.by for one in found if one.record == record["digest"]))


def sign(path: Path, record: Mapping[str, Any], name: str, versions: Mapping[str, str]) -> Path:
    """Add a verification of a filed record; returns its file. Earlier ones are kept."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    signed = [
        *read_verifications(path),
        Verification(by=name, at=now, record=record["digest"], versions=dict(versions)),
    ]
    make_folder(path_of(path).parent)
    replace_file(path_of(path), _LIST.dump_json(signed, indent=1) + b"\n", durable=True)
    return path_of(path)
