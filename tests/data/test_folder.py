"""Folders of images: what is read from them, and every kind of wrong row and file."""

import csv
import os
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fedbench_core.api import DataError, DataRequest, RequestError
from fedbench_core.data.datasets import DATASETS
from fedbench_core.data.folder import _drawn
from fedbench_core.data.labels_csv import Row
from fedbench_core.data.pictures import has_color, read_picture

ROWS = [
    {"file": f"{split}/{number}.png", "label": label, "split": split, "site": site}
    for split, count in (("train", 4), ("val", 2), ("test", 2))
    for number in range(count)
    for label, site in [(("cat", "dog")[number % 2], ("north", "south")[number // 2])]
]


def picture(number, pixels=(8, 8)):
    return (np.arange(np.prod(pixels)).reshape(pixels) * 3 + number) % 251


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path, **options)


@pytest.fixture
def own(tmp_path):
    """Writes a folder of images: the rows, or the text of the CSV file, and the arrays of some files."""

    def own(rows=ROWS, text=None, **files):
        folder = tmp_path / "own"
        for number, row in enumerate(ROWS):
            save(folder / row["file"], files.get(row["file"], picture(number)))
        with (folder / "labels.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        if text is not None:
            (folder / "labels.csv").write_text(text)
        return folder

    return own


def load(folder, request, **options):
    return DATASETS["folder"](path=str(folder), **options).load(request)


def without(*columns):
    return [{key: value for key, value in row.items() if key not in columns} for row in ROWS]


def changed(at, **cells):
    return [{**row, **(cells if number == at else {})} for number, row in enumerate(ROWS)]


def test_splits_are_those_of_the_rows(own, request_):
    splits = load(own(), replace(request_, image_size=8))
    assert (splits.name, splits.official, splits.task.kind) == ("folder:own", False, "binary")
    assert splits.task.classes == ("cat", "dog")
    assert splits.train.images.tolist() == [picture(number).tolist() for number in range(4)]
    assert splits.train.labels.tolist() == [[0], [1], [0], [1]]
    assert splits.test.images.tolist() == [picture(number).tolist() for number in (6, 7)]
    assert {split: sites.tolist() for split, sites in splits.sites.items()} == {
        "train": [0, 0, 1, 1],
        "val": [0, 0],
        "test": [0, 0],
    }
    assert splits.site_names == ("north", "south")
    assert splits.files["val"].tolist() == ["val/0.png", "val/1.png"]


def test_splits_and_sites_may_be_missing(own, request_):
    splits = load(own(without("split", "site")), request_, val=0.2, test=0.2)
    assert [len(splits.train), len(splits.val), len(splits.test)] == [6, 1, 1]
    assert splits.sites == {}
    assert load(own(without("split")), request_, val=0.2, test=0.2).site_names == ("north", "south")


def test_drawn_splits_have_labels_and_sites_in_proportion():
    rows = [Row(n, f"{n}", label, site=site) for n in range(400) for label, site in [("abcd"[n % 4], "xy"[n % 3 == 0])]]
    drawn = list(_drawn(rows, 0.1, 0.2, 0))
    assert [(row.number, row.label) for row in drawn] == [(row.number, row.label) for row in rows]
    for label in "abcd":
        for site in "xy":
            group = [row.split for row in drawn if (row.label, row.site) == (label, site)]
            assert abs(group.count("test") - 0.2 * len(group)) <= 1
            assert abs(group.count("val") - 0.1 * len(group)) <= 1.2
    assert drawn == list(_drawn(rows, 0.1, 0.2, 0))
    assert drawn != list(_drawn(rows, 0.1, 0.2, 1))


@pytest.mark.parametrize(
    ("labels", "expected"), [(["10", "9"], ("9", "10")), (["1", "-1"], ("-1", "1")), (["b", "A1"], ("A1", "b"))]
)
def test_numbers_are_classes_in_their_order(own, request_, labels, expected):
    rows = [{**row, "label": labels[number % 2]} for number, row in enumerate(ROWS)]
    assert load(own(rows), request_).task.classes == expected


def test_images_are_resized_to_the_requested_size(own, request_):
    folder = own()
    small, large = load(folder, request_), load(folder, replace(request_, image_size=64))
    assert (small.image_size, large.image_size) == (28, 64)
    assert small.digest != large.digest


def test_size_that_no_memory_holds_is_refused(own, request_):
    with pytest.raises(RequestError, match=r"--image-size 100000.*4096"):
        load(own(), replace(request_, image_size=100_000))


def test_one_color_image_makes_all_images_color(own, request_):
    folder = own(**{"val/0.png": picture(0, (8, 8, 3))})
    assert load(folder, request_).channels == 3
    assert load(folder, request_, channels="gray").channels == 1


def test_second_load_decodes_nothing(own, request_):
    lines = []
    folder, request = own(), replace(request_, say=lines.append)
    first, second = load(folder, request), load(folder, request)
    assert len(lines) == 1
    assert first.digest == second.digest
    assert isinstance(second.train.images, np.memmap)


def test_changed_file_is_read_again(own, request_):
    folder = own()
    first = load(folder, request_)
    save(folder / "train/0.png", picture(99, (9, 9)))
    second = load(folder, request_)
    assert first.digest != second.digest
    assert (first.train.images[0] != second.train.images[0]).any()


def test_digest_does_not_depend_on_the_place_of_the_folder(own, request_, tmp_path):
    folder = own()
    first = load(folder, request_)
    folder.rename(tmp_path / "moved")
    assert load(tmp_path / "moved", request_).digest == first.digest


def test_images_without_a_row_are_named(own, request_):
    lines = []
    folder = own()
    save(folder / "train/more.png", picture(0))
    load(folder, replace(request_, say=lines.append))
    assert "1 images" in lines[0]
    assert "train/more.png" in lines[0]


def as_text(rows):
    return "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)])


WRONG_TABLES = {
    "unknown column": (as_text([{**row, "patient": "1"} for row in ROWS]), ["'patient'", "file, label"]),
    "no label column": (as_text(without("label")), ["'label'"]),
    "semicolons": ("file;label\na.png;1\n", ["'file;label'", "commas"]),
    "column twice": ("file,label,label\na,b,c\n", ["file, label, label"]),
    "empty": ("", ["no rows"]),
    "heading only": ("file,label\n", ["no rows"]),
    "missing cell": (as_text(ROWS) + "\na.png,cat\n", ["row 10", "2 cells"]),
    "no label": (as_text(changed(2, label="")), ["row 4", "no label"]),
    "no file": (as_text(changed(2, file="")), ["row 4", "no file"]),
    "no site": (as_text(changed(2, site="")), ["row 4", "no site"]),
    "unknown split": (as_text(changed(2, split="dev")), ["row 4", "'dev'", "train, val, test"]),
    "file in two splits": (
        as_text([*ROWS, {**ROWS[0], "split": "test"}]),
        ["rows 2 and 10", "train/0.png", "train and test"],
    ),
    "file twice": (as_text([*ROWS, {**ROWS[0], "file": "./train/0.png"}]), ["rows 2 and 10", "train/0.png"]),
    "missing file": (as_text(changed(2, file="lost.png")), ["row 4", "lost.png"]),
    "file elsewhere": (as_text(changed(2, file="../own/train/2.png")), ["row 4", "../own/train/2.png"]),
    "absolute file": (as_text(changed(2, file="/train/2.png")), ["row 4", "/train/2.png"]),
    "label without training images": (as_text(changed(7, label="emu")), ["'emu'", "row 9", "no training images"]),
    "no validation images": (as_text([row for row in ROWS if row["split"] != "val"]), ["split val"]),
    "one label": (as_text([{**row, "label": "cat"} for row in ROWS]), ["'cat'", "two labels"]),
    "too few to draw from": ("file,label\ntrain/0.png,cat\ntrain/1.png,dog\n", ["split val"]),
    "several problems": (
        as_text(changed(2, label="", site="")),
        ["2 problems", "row 4 has no label", "row 4 has no site"],
    ),
    "no CSV": ('file,label\n"train', ["labels.csv"]),
}


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_wrong_table_is_refused_by_row(own, request_, case):
    text, words = WRONG_TABLES[case]
    with pytest.raises(DataError) as error:
        load(own(text=text), request_)
    for word in words:
        assert word in str(error.value)


def test_table_of_a_spreadsheet_is_read(own, request_):
    folder = own(text="\ufeff" + as_text(ROWS).replace("\n", "\r\n") + "\r\n,,,\r\n")
    assert len(load(folder, request_).train) == 4


def test_table_in_another_encoding_is_refused(own, request_):
    folder = own()
    (folder / "labels.csv").write_bytes(as_text(changed(0, label="caf\xe9")).encode("latin-1"))
    with pytest.raises(DataError, match=r"labels\.csv: .*utf-8.*UTF-8"):
        load(folder, request_)


def test_folder_without_one_table_is_refused(own, request_, tmp_path):
    folder = own()
    (folder / "more.csv").write_text("file,label\n")
    with pytest.raises(DataError, match=r"labels\.csv, more\.csv"):
        load(folder, request_)
    with pytest.raises(DataError, match="no CSV"):
        load(folder / "train", request_)
    with pytest.raises(DataError, match=f"no folder {tmp_path}/none"):
        load(tmp_path / "none", request_)


def bomb(side):
    """A valid PNG of side x side gray pixels, compressed to little."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_unreadable_images_are_refused_by_row_and_file(own, request_, tmp_path):
    folder = own()
    whole = (folder / "train/1.png").read_bytes()
    (folder / "train/1.png").write_bytes(whole[:60])
    (folder / "val/0.png").write_bytes(b"no image")
    with pytest.raises(DataError) as error:
        load(folder, request_)
    assert "row 6" in str(error.value)
    assert f"{folder}/val/0.png" in str(error.value)
    (folder / "val/0.png").unlink()
    os.mkfifo(folder / "val/0.png")
    with pytest.raises(DataError, match=r"row 6: val/0\.png is no file"):
        load(folder, request_)
    (folder / "val/0.png").unlink()
    save(folder / "val/0.png", picture(0))
    for damaged in (whole[:60], whole[:50], whole[:50] + b"x" + whole[51:]):
        (folder / "train/1.png").write_bytes(damaged)
        with pytest.raises(DataError, match=f"row 3: {folder}/train/1.png"):
            load(folder, request_)
    Image.fromarray(picture(0, (64, 64)).astype(np.uint8)).save(tmp_path / "whole.jpg")
    for name in ("train/1.png", "test/0.png"):  # what has no checksums fails when it is decoded
        (folder / name).write_bytes((tmp_path / "whole.jpg").read_bytes()[:-300])
    with pytest.raises(DataError) as error:
        load(folder, request_)
    assert f"row 3: {folder}/train/1.png" in str(error.value)
    assert f"row 8: {folder}/test/0.png" in str(error.value)
    for name in ("train/1.png", "test/0.png"):
        (folder / name).write_bytes(whole)
    assert len(load(folder, request_).train) == 4


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_decompression_bomb_is_refused_with_its_size(own, request_, side):
    folder = own()
    (folder / "test/0.png").write_bytes(bomb(side))
    with pytest.raises(DataError, match=rf"row 8: {folder}/test/0\.png: too large .*{side**2}"):
        load(folder, request_)


@pytest.mark.parametrize("blob", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a" + bytes(20)])
def test_file_that_is_no_image_is_a_data_error(tmp_path, blob):
    path = tmp_path / "a.png"
    path.write_bytes(blob)
    with pytest.raises(DataError, match=r"a\.png"):
        read_picture(path, 8, color=False)


def test_any_damaged_byte_gives_an_image_or_a_data_error(tmp_path):
    for suffix in ("png", "jpg"):
        path = tmp_path / f"a.{suffix}"
        save(path, picture(0, (16, 16, 3)))
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        for _ in range(150):
            blob = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            blob[rng.integers(len(blob))] ^= 1 << rng.integers(8)
            path.write_bytes(blob)
            try:
                assert read_picture(path, 8, color=True).shape == (8, 8, 3)
            except DataError as error:
                assert path.name in str(error)  # noqa: PT017 - either is right, by which byte was hit


@pytest.mark.parametrize(
    ("mode", "color"),
    [("1", False), ("L", False), ("LA", False), ("P", True), ("RGB", True), ("RGBA", True), ("CMYK", True)],
)
def test_every_mode_of_8_bits_is_read(tmp_path, mode, color):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(path)
    assert has_color(path) is color
    for wanted, shape in ((True, (4, 4, 3)), (False, (4, 4))):
        pixels = read_picture(path, 4, color=wanted)
        assert (pixels.shape, pixels.dtype, pixels.min()) == (shape, np.uint8, 255)


def test_image_of_16_bits_is_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png.*I;16.*8 bits"):
        has_color(tmp_path / "a.png")


def test_fit_decides_how_an_image_becomes_square(tmp_path):
    save(tmp_path / "a.png", np.repeat([[100, 200, 200, 100]], 2, axis=0))
    read = {fit: read_picture(tmp_path / "a.png", 4, color=False, fit=fit).tolist() for fit in ("pad", "stretch")}
    assert read["pad"] == [[0] * 4, [100, 200, 200, 100], [100, 200, 200, 100], [0] * 4]
    assert read["stretch"] == [[100, 200, 200, 100]] * 4
    assert read_picture(tmp_path / "a.png", 2, color=False, fit="crop").tolist() == [[200, 200]] * 2


def test_orientation_of_a_camera_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # rotated by 180 degrees
    save(tmp_path / "a.png", np.array([[10, 20], [30, 40]]), exif=exif)
    assert read_picture(tmp_path / "a.png", 2, color=False).tolist() == [[40, 30], [20, 10]]


def test_relative_folder_is_below_the_base(own, request_):
    folder = own()
    request = DataRequest(request_.cache, base=folder.parent)
    assert len(load("own", request).train) == 4
