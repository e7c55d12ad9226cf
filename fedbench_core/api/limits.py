"""Limits on files that others wrote: their size is checked before they are read, and their depth before they are used.

The setting FEDBENCH_MAX_BYTES, such as 20GB, replaces every limit on a size.
"""

import json
import os
import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic import ByteSize, TypeAdapter, ValidationError

from fedbench_core.api.errors import DataError, RequestError

SETTING: Final = "FEDBENCH_MAX_BYTES"
TEXT_BYTES: Final = 256 * 2**20
"""Largest JSON or TOML file; a record of 1,000 clients and 10,000 images has 2 MB."""
DEPTH: Final = 32
"""Deepest nesting of lists and tables; that of a record is 8."""


def check_size(path: Path, size: int, limit: int, what: str) -> None:
    """DataError that names the file, its size and how to raise the limit, if `size` exceeds it.

    what: the size meant, such as "unpacks to".
    """
    allowed = _setting() or limit
    if size > allowed:
        raise DataError(
            f"{path} {what} {_text(size)} ({size} bytes), more than the limit of {_text(allowed)}. If you trust the "
            f"file, raise the limit: {SETTING}={size} fedbench ..."
        )


def read_text(path: Path) -> str:
    """The text of a file; OSError if it can't be read, ValueError if it isn't UTF-8, DataError if it is too large."""
    allowed = _setting() or TEXT_BYTES
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        check_size(path, size, TEXT_BYTES, "has")
        text = file.read(size + 1 if size else allowed + 1)  # a pipe or device has no size
    check_size(path, len(text), TEXT_BYTES, "has more than")
    return text.decode("utf-8")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON document; ValueError if it isn't one, or is nested more deeply than `DEPTH`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    check_depth(value)
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML document; ValueError if it isn't one, or is nested more deeply than `DEPTH`."""
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    check_depth(table)
    return table


def check_depth(value: Any) -> None:
    """ValueError if lists and tables are nested more deeply than `DEPTH`: later functions call themselves per level."""
    level = [value]
    for _ in range(DEPTH + 1):
        level = [inner for outer in level for inner in _items(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise _too_deep()


def _items(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {DEPTH} levels deep")


def _setting() -> int | None:
    text = os.environ.get(SETTING)
    if not text:
        return None
    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError:
        raise RequestError(f"{SETTING}={text}: expected a size in bytes, such as 20GB.") from None


def _text(size: int) -> str:
    return ByteSize(size).human_readable(decimal=True)
