"""Filed records: their paths, and what is refused. The record is one of this repository and needs no run."""

from pathlib import Path

import pytest

from fedbench_core.api.errors import RunError
from fedbench_core.records.record import FORMAT, read_record, sealed, write_record
from fedbench_core.suites.filed_records import file_record, filed_by_key, read_filed_records, records_folder
from fedbench_core.suites.grid import GridPoint

FILED = read_record(
    next((Path(__file__).parents[2] / "leaderboards" / "records" / "quickstart").glob("fedavg-p*.json"))
)
RUN = sealed(
    {
        **{name: value for name, value in FILED.items() if name not in ("digest", "grid_point")},
        "how": {"seconds": 1.0, "data_root": "/home/me"},
    }
)


def grid_point(seed: int = 0, entry: str = "one") -> GridPoint:
    return GridPoint("small", entry, "npz:my/own.npz", "IID", "tiny", seed, {"method": "one", "seed": seed})


def again(**blocks) -> dict:
    return sealed({name: value for name, value in {**RUN, **blocks}.items() if name != "digest"})


def test_folder_of_records_is_beside_the_suites(tmp_path) -> None:
    assert (
        records_folder(tmp_path / "leaderboards" / "suites" / "small.toml")
        == tmp_path / "leaderboards" / "records" / "small"
    )
    assert records_folder(tmp_path / "small.toml") == tmp_path / "records" / "small"


def test_record_is_found_by_the_key_of_its_grid_point(tmp_path) -> None:
    path = file_record(RUN, grid_point(), tmp_path / "new")
    assert path.name == f"one-npz-my-own.npz-iid-s0-{grid_point().key[:8]}.json"
    (record,) = read_filed_records(path.parent)
    assert record == read_record(path)
    assert record["grid_point"]["key"] == grid_point().key
    assert (record["test"], record["how"]) == (RUN["test"], {"seconds": 1.0})
    assert set(filed_by_key(path.parent)) == {grid_point(entry="renamed").key}


def test_records_of_one_grid_point_must_agree(tmp_path) -> None:
    first = file_record(RUN, grid_point(), tmp_path)
    slower = again(how={"seconds": 9.0})
    second = file_record(slower, grid_point(entry="two"), tmp_path)
    file_record(RUN, grid_point(seed=1), tmp_path)
    assert first != second
    assert len(read_filed_records(tmp_path)) == 2
    file_record(again(notes=["another"]), grid_point(entry="two"), tmp_path)
    with pytest.raises(
        RunError, match=rf"{second} and {first.name} are records of one grid point and disagree in notes"
    ):
        read_filed_records(tmp_path)


def test_record_without_a_grid_point_or_of_another_format_is_refused_by_name(tmp_path) -> None:
    for block, named in (({}, "fedbench submit"), ({"grid_point": 3}, "grid_point"), ({"grid_point": {}}, "suite")):
        write_record(tmp_path / "own.json", again(**block))
        with pytest.raises(RunError, match=rf"own\.json .*{named}"):
            read_filed_records(tmp_path)
    write_record(tmp_path / "own.json", again(format=FORMAT + 1))
    with pytest.raises(RunError, match=rf"own\.json has format {FORMAT + 1}"):
        read_filed_records(tmp_path)


def test_missing_folder_has_no_records(tmp_path) -> None:
    assert read_filed_records(tmp_path / "nowhere") == []


def test_record_is_replaced_at_its_path(tmp_path) -> None:
    path = Path(tmp_path / "odd.json")
    write_record(path, again(grid_point=grid_point().block))
    assert file_record(again(notes=["another"]), grid_point(), tmp_path, path) == path
    assert [record["notes"] for record in read_filed_records(tmp_path)] == [["another"]]
