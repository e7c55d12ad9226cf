"""Download of a published file, checked against its MD5."""

import hashlib
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from fedbench_core.api.errors import DataError
from fedbench_core.data.cache import replacing

CHUNK_BYTES = 2**20
TIMEOUT_SECONDS = 30


def download(url: str, path: Path, md5: str) -> None:
    """Download `url` to `path`, with a progress bar on stderr; DataError if that fails or the MD5 differs."""
    request = Request(url, headers={"User-Agent": "fedbench"})  # noqa: S310 - from medmnist's own table
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urlopen(request, timeout=TIMEOUT_SECONDS) as source, replacing(path) as file:  # noqa: S310 - as above
            length = int(source.headers.get("Content-Length") or 0) or None
            found = _copy(source, file, path.name, length)
            if found != md5:
                raise DataError(
                    f"{url} returned a file with MD5 {found}; expected {md5}, so it was deleted. Try again."
                )
    except (OSError, HTTPException) as error:
        raise DataError(
            f"{path.name} is not in {path.parent} and could not be downloaded from {url} ({error}). Put the file "
            "there, or pass its folder as --data-root or FEDBENCH_DATA; --dataset breastmnist and phantom need no file."
        ) from error


def _copy(source: BinaryIO, file: BinaryIO, name: str, length: int | None) -> str:
    """Copy `source` to `file`; returns the MD5 of the copied bytes."""
    md5 = hashlib.md5(usedforsecurity=False)
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(name, total=length)
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
            md5.update(chunk)
            progress.advance(bar, len(chunk))
    return md5.hexdigest()
