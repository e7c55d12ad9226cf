import os
import subprocess
import sys

import numpy as np
import pytest

from fedbench_core.api import DataError
from fedbench_core.api.folders import default_cache
from fedbench_core.data import cache
from fedbench_core.data.cache import mapped, md5, replacing
from fedbench_core.data.npy import npy

NUMBERS = np.arange(1000)


class Source:
    """Yields two arrays and counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        yield "numbers", [npy(NUMBERS)]
        yield "squares", [npy(NUMBERS**2)]


WRITER = """
import sys, pathlib, numpy as np
from fedbench_core.data.cache import mapped
from fedbench_core.data.npy import npy
folder, numbers = pathlib.Path(sys.argv[1]), np.arange(100000)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(8):
    (folder / "manifest.json").unlink(missing_ok=True)
    found = mapped(folder, lambda: [(name, [npy(numbers)]) for name in ("a", "b")])
    assert (found["a"] == numbers).all() and (found["b"] == numbers).all()
"""


def test_arrays_are_stored_once_and_mapped_read_only(tmp_path):
    source = Source()
    first, second = mapped(tmp_path / "a", source), mapped(tmp_path / "a", source)
    assert source.calls == 1
    assert (first["numbers"] == NUMBERS).all()
    assert isinstance(second["squares"], np.memmap)
    assert not second["squares"].flags.writeable
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["manifest.json", "numbers.npy", "squares.npy"]


@pytest.mark.parametrize("damage", ["truncate", "remove", "zeros", "one bit", "manifest", "no manifest"])
def test_damaged_cache_is_written_again(tmp_path, damage):
    source = Source()
    mapped(tmp_path, source)
    victim, manifest = tmp_path / "squares.npy", tmp_path / "manifest.json"
    if damage == "truncate":
        victim.write_bytes(victim.read_bytes()[:-100])
    elif damage == "remove":
        victim.unlink()
    elif damage == "zeros":
        victim.write_bytes(victim.read_bytes()[:128].ljust(victim.stat().st_size, b"\0"))
    elif damage == "one bit":
        blob = bytearray(victim.read_bytes())
        blob[-3] ^= 1
        victim.write_bytes(blob)
    elif damage == "manifest":
        manifest.write_text(manifest.read_text()[:-5])
    else:
        manifest.unlink()
    assert (mapped(tmp_path, source)["squares"] == NUMBERS**2).all()
    assert source.calls == 2


def test_source_that_fails_leaves_no_manifest(tmp_path):
    def failing():
        yield "numbers", [npy(NUMBERS)]
        raise DataError("the rest is gone")

    with pytest.raises(DataError, match="the rest is gone"):
        mapped(tmp_path, failing)
    assert [file.name for file in tmp_path.iterdir()] == ["numbers.npy"]
    assert sorted(mapped(tmp_path, Source())) == ["numbers", "squares"]


def test_two_processes_can_store_at_once(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], **pipes) for _ in range(2)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.npy", "b.npy", "manifest.json"]


def test_mapped_arrays_survive_storing_again(tmp_path):
    before = mapped(tmp_path, Source())["squares"]
    (tmp_path / "manifest.json").unlink()
    mapped(tmp_path, Source())
    assert (before == NUMBERS**2).all()


def test_cache_that_cannot_be_written_is_a_data_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file/a .*FEDBENCH_CACHE="):
        mapped(tmp_path / "file" / "a", Source())


def test_file_is_complete_or_missing(tmp_path):
    path = tmp_path / "note"

    def stop():
        with replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(tmp_path.iterdir()) == []
    with replacing(path) as file:
        file.write(b"whole")
    assert path.read_bytes() == b"whole"


def test_md5_of_a_known_text_is_that_of_the_standard(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # RFC 1321, A.5
    assert md5(tmp_path / "abc", tmp_path / "cache") == "900150983cd24fb0d6963f7d28e17f72"


def test_md5_of_a_large_file_is_cached_until_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SMALL_BYTES", 2)
    path, entries = tmp_path / "abc", tmp_path / "cache"
    path.write_bytes(b"abc")
    assert [md5(path, entries) for _ in range(2)] == ["900150983cd24fb0d6963f7d28e17f72"] * 2
    assert len(list((entries / "md5").iterdir())) == 1
    (entry,) = (entries / "md5").iterdir()
    entry.write_text("cached cached")
    assert md5(path, entries) == "cached"
    for damage in (b"cached cacheb", b"cached", b"\xff \xff", b""):
        entry.write_bytes(damage)
        assert md5(path, entries) == "900150983cd24fb0d6963f7d28e17f72"
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    assert md5(path, entries) == "4911e516e5aa21d327512e0c8b197616"


def test_default_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("FEDBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "fedbench"


def test_import_of_the_datasets_imports_no_heavy_packages():
    code = "import sys, fedbench_core.data; print({m.split('.')[0] for m in sys.modules} & set(sys.argv[1:]))"
    heavy = ["medmnist", "pandas", "skimage", "sklearn", "torchvision"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
