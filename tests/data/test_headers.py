"""Headers of npz files: sizes and shapes are checked before anything is unpacked."""

import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedbench_core.api import DataError
from fedbench_core.api.limits import SETTING
from fedbench_core.data import headers
from fedbench_core.data.datasets import DATASETS
from fedbench_core.data.headers import UNPACKED_RATIO
from fedbench_core.data.layout import MOST_OUTPUTS

IMAGES = 20 * 8 * 8


def member(descr: str = "'|u1'", shape: str = "(20, 8, 8)", data: bytes = bytes(IMAGES), version: int = 1) -> bytes:
    """An .npy file with any text as its header."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def replaced(path, key, blob) -> None:
    """Put another member into an npz file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | {f"{key}.npy": blob}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def refusal(path, request) -> str:
    with pytest.raises(DataError) as error:
        DATASETS["npz"](path=str(path)).load(request)
    text = str(error.value)
    assert text.startswith(f"{path}"), text
    assert "\n" not in text
    assert not list(request.cache.rglob("*.npy")), "something was unpacked"
    return text


IMPOSSIBLE = {
    "overflow": ("'|u1'", f"({2**63 - 1}, {2**63 - 1})"),
    "overflow to the size of the file": ("'|u1'", f"({2**32}, {2**32}, 1)"),
    "negative": ("'|u1'", "(-20, -8, 8)"),
    "inferred": ("'|u1'", "(-1, 8, 8)"),
    "truth value": ("'|u1'", "(True, 8, 8)"),
    "no tuple": ("'|u1'", "'abc'"),
    "too many digits": ("'|u1'", f"({'9' * 5000},)"),
    "deep": ("'|u1'", "(" * 4000),
    "brackets": ("[" * 4000, "(20, 8, 8)"),
    "no bytes per item": ("'<U0'", "(99999999999,)"),
    "no type": ("'nonsense'", "(20, 8, 8)"),
    "objects": ("'|O'", "(20, 8, 1)"),
    "too short": ("'|u1'", "(20, 8, 9)"),
    "too long": ("'|u1'", "(20, 8, 7)"),
}


@pytest.mark.parametrize(("descr", "shape"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_array_is_refused_before_anything_is_unpacked(write, request_, descr, shape) -> None:
    for key in ("train_images", "classes"):
        path = write()
        replaced(path, key, member(descr, shape))
        assert key in refusal(path, request_)


@pytest.mark.parametrize("blob", [b"", b"\x93NUMPY\x02\x00\xff\xff\xff\xffx", member(version=3), b"PK\x03\x04"])
def test_member_that_is_no_array_is_refused(write, request_, blob) -> None:
    path = write()
    replaced(path, "val_labels", blob)
    assert "val_labels" in refusal(path, request_)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.binary(max_size=80) | st.text("0123456789-(,)[]'{}: uifO|<descrshape", max_size=60).map(str.encode))
def test_any_header_is_read_or_refused_in_one_sentence(write, request_, header) -> None:
    path = write("any.npz")
    replaced(path, "test_sites", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    refusal(path, request_)


def test_member_whose_compressed_bytes_are_damaged_is_refused(write, request_) -> None:
    path = write()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        start = archive.getinfo("train_images.npy").header_offset
    properties = start + 30 + len("train_images.npy") + 4  # of LZMA, behind the header of the member and its own
    whole = path.read_bytes()
    path.write_bytes(whole[:properties] + b"\xff" + whole[properties + 1 :])
    refusal(path, request_)


def test_array_in_fortran_order_is_read(write, request_) -> None:
    blob = io.BytesIO()
    images = np.arange(IMAGES, dtype=np.uint8).reshape(20, 8, 8)
    np.save(blob, np.asfortranarray(images))
    path = write()
    replaced(path, "train_images", blob.getvalue())
    assert (DATASETS["npz"](path=str(path)).load(request_).train.images == images).all()


def test_small_file_that_unpacks_to_much_is_refused_with_both_sizes_and_the_setting(
    write, request_, monkeypatch
) -> None:
    monkeypatch.setattr(headers, "UNPACKED_BYTES", 2**20)
    path = write(changes={"train_images": np.zeros((64, 256, 256), np.uint8), "train_labels": np.arange(64) % 3})
    text = refusal(path, request_)
    assert path.stat().st_size * UNPACKED_RATIO < 2**20
    assert all(part in text for part in (str(path), "4.2MB", "limit of 1.0MB", f"{SETTING}="))
    monkeypatch.setenv(SETTING, "1kB")
    assert "limit of 1.0KB" in refusal(path, request_)
    path = write(pixels=(256, 256), changes={})
    monkeypatch.setenv(SETTING, "5MB")
    assert DATASETS["npz"](path=str(path)).load(request_).image_size == 256


def test_more_classes_than_a_network_can_have_are_refused(write, request_) -> None:
    many = np.array([f"{number:05}" for number in range(MOST_OUTPUTS + 1)])
    path = write(changes={"classes": many})
    with pytest.raises(DataError, match=f"{MOST_OUTPUTS + 1} class names"):
        DATASETS["npz"](path=str(path)).load(request_)
    labels = {
        f"{split}_labels": np.zeros((n, MOST_OUTPUTS + 1), np.uint8)
        for split, n in (("train", 20), ("val", 6), ("test", 8))
    }
    with pytest.raises(DataError, match=f"{MOST_OUTPUTS + 1} labels"):
        DATASETS["npz"](path=str(write(changes=labels))).load(request_)
