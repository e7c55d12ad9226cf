"""Filed records: where they lie, and what is refused. Made from contents that need no run."""

from pathlib import Path

import pytest

from fedbench_core.api.errors import RunError
from fedbench_core.records.record import FORMAT, read_record, sealed, write_record
from fedbench_core.suites.filing import file_record, filed_paths, read_filed, records_of
from fedbench_core.suites.suite import GridPoint

RUN = sealed({"format": FORMAT, "test": {"metrics": {"auc": 0.5}}, "how": {"seconds": 1.0, "data_root": "/home/me"}})


def grid_point(seed: int = 0, entry: str = "one") -> GridPoint:
    return GridPoint("small", entry, "npz:my/own.npz", "IID", "tiny", seed, {"method": "one", "seed": seed})


def test_records_lie_beside_the_suites(tmp_path) -> None:
    assert (
        records_of(tmp_path / "leaderboards" / "suites" / "small.toml")
        == tmp_path / "leaderboards" / "records" / "small"
    )
    assert records_of(tmp_path / "small.toml") == tmp_path / "records" / "small"


def test_a_record_is_found_again_by_the_key_of_its_grid_point(tmp_path) -> None:
    path = file_record(RUN, grid_point(), tmp_path / "new")
    assert path.name == f"one-npz-my-own.npz-iid-s0-{grid_point().key[:8]}.json"
    (record,) = read_filed(path.parent)
    assert record == read_record(path)
    assert record["grid_point"]["key"] == grid_point().key
    assert (record["test"], record["how"]) == (RUN["test"], {"seconds": 1.0})
    assert set(filed_paths(path.parent)) == {grid_point(entry="renamed").key}


def test_equal_records_of_one_grid_point_are_one_and_others_are_named(tmp_path) -> None:
    first = file_record(RUN, grid_point(), tmp_path)
    slower = sealed({**RUN, "how": {"seconds": 9.0}})
    second = file_record(slower, grid_point(entry="two"), tmp_path)
    file_record(RUN, grid_point(seed=1), tmp_path)
    assert first != second
    assert len(read_filed(tmp_path)) == 2
    file_record(sealed({**RUN, "test": {}}), grid_point(entry="two"), tmp_path)
    with pytest.raises(RunError, match=f"{first} and {second} are records of one grid point and disagree in test"):
        read_filed(tmp_path)


def test_what_is_not_filed_or_newer_is_named(tmp_path) -> None:
    for nowhere in ({}, {"grid_point": 3}, {"grid_point": {"entry": "one"}}):
        write_record(tmp_path / "own.json", sealed({**RUN, **nowhere}))
        with pytest.raises(
            RunError, match=r"own\.json belongs to no grid point of a suite. File it with: fedbench submit"
        ):
            read_filed(tmp_path)
    write_record(tmp_path / "own.json", sealed({**RUN, "format": FORMAT + 1}))
    with pytest.raises(RunError, match=rf"own\.json has format {FORMAT + 1}; this fedbench reads format {FORMAT}"):
        read_filed(tmp_path)


def test_no_folder_is_no_records(tmp_path) -> None:
    assert read_filed(tmp_path / "nowhere") == []


def test_a_record_is_replaced_where_it_lies(tmp_path) -> None:
    path = Path(tmp_path / "odd.json")
    write_record(path, sealed({**RUN, "grid_point": grid_point().block}))
    assert file_record(sealed({**RUN, "test": {}}), grid_point(), tmp_path, path) == path
    assert [record["test"] for record in read_filed(tmp_path)] == [{}]
