"""Blobs from a worker to its parent."""

import os
from pathlib import Path

import pytest

from fedbench_core.api import RunError
from fedbench_core.federation.executors.blob_files import BlobFile, BlobWriter, reading
from fedbench_core.federation.store import Store

LONG = 2**16 + 1


def of(byte: int, length: int = LONG) -> bytes:
    return bytes([byte]) * length


def sent(writer: BlobWriter, blob: bytes) -> BlobFile:
    file = writer.write(blob)
    assert isinstance(file, BlobFile)
    return file


def test_short_blob_is_sent_as_it_is(tmp_path) -> None:
    blob = of(1, 2**16)
    assert BlobWriter(tmp_path).write(blob) is blob
    with reading(blob) as read:
        assert read is blob


@pytest.mark.parametrize("lengths", [(LONG, LONG), (2 * LONG, LONG), (LONG, 2 * LONG)], ids=str)
def test_file_is_used_again_once_it_was_read(tmp_path, lengths) -> None:
    writer = BlobWriter(tmp_path)
    for byte, length in enumerate(lengths):
        with reading(sent(writer, of(byte, length))) as read:
            assert bytes(read) == of(byte, length)
    assert len(list(tmp_path.iterdir())) == 1


def test_blobs_that_were_not_read_stay(tmp_path) -> None:
    writer = BlobWriter(tmp_path)
    files = [sent(writer, of(byte)) for byte in range(4)]
    for byte in (2, 0, 3, 1):
        with reading(files[byte]) as read:
            assert bytes(read) == of(byte)


def test_blob_that_is_kept_beyond_its_time_stays_as_it_is(tmp_path) -> None:
    writer = BlobWriter(tmp_path)
    with reading(sent(writer, of(1))) as read:
        kept = memoryview(read)[:10]
    for byte in range(2, 5):
        sent(writer, of(byte))
    assert bytes(kept) == of(1, 10)


def test_error_in_the_parent_frees_the_file(tmp_path) -> None:
    writer = BlobWriter(tmp_path)
    with pytest.raises(KeyError), reading(sent(writer, of(1))):
        raise KeyError
    with reading(sent(writer, of(2))) as read:
        assert bytes(read) == of(2)
    assert len(list(tmp_path.iterdir())) == 1


def test_file_that_is_gone_is_an_error_that_names_it(tmp_path) -> None:
    file = sent(BlobWriter(tmp_path), of(1))
    file.path.unlink()
    with pytest.raises(RunError, match=file.path.name), reading(file):
        pass


def test_folder_that_is_gone_is_an_error_that_names_the_file(tmp_path) -> None:
    with pytest.raises(RunError, match=r"message-.* could not be written"):
        BlobWriter(tmp_path / "gone").write(of(1))


def test_link_in_place_of_a_file_is_not_followed(tmp_path) -> None:
    writer, other = BlobWriter(tmp_path), tmp_path / "other"
    other.write_bytes(b"of the user")
    file = sent(writer, of(1))
    file.path.unlink()
    file.unused.symlink_to(other)
    with pytest.raises(RunError):
        writer.write(of(2))
    assert other.read_bytes() == b"of the user"


def test_run_folder_is_left_clean(tmp_path) -> None:
    """The files are among those that a store removes as its own, read or not."""
    store = Store(tmp_path / "state")
    writer = BlobWriter(tmp_path / "state")
    files = [sent(writer, of(byte)) for byte in range(2)]
    with reading(files[0]):
        pass
    assert {path.name for path in Path(tmp_path / "state").iterdir()} == {files[0].unused.name, files[1].path.name}
    assert str(os.getpid()) in files[0].path.name
    store.clear()
    assert not (tmp_path / "state").exists()
