"""Suite files and their grid points."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api.errors import RequestError
from fedbench_core.suites.files import read_suite
from fedbench_core.suites.grid import merged
from fedbench_core.suites.status import Unrecorded
from fedbench_core.suites.suite import Suite

SUITE = """
name = "small"
question = "Which is better?"
seeds = [3, 1]
datasets = ["spots", "phantom"]
backbones = ["tiny", "tiny, wide"]
[settings]
clients = 3
epochs = 2
set = {"dataset.train" = 60}
[[partitions]]
name = "Dirichlet 1.0"
partitioner = "dirichlet"
set = {"partitioner.alpha" = 1.0}
[[partitions]]
partitioner = "shards"
[partitions.set.partitioner]
classes_per_client = 2
[[entries]]
method = "one"
[[entries]]
name = "two, longer"
method = "two"
steps = 16
set = {"local_update.mu" = 0.1, "dataset.train" = 90}
[baselines]
steps = "one"
controls = {"two, longer" = "one"}
"""


@pytest.fixture
def write(tmp_path):
    """Write a suite file with that name; returns its path."""

    def put(text: str, name: str = "small") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        return path

    return put


def test_grid_points_are_the_product_of_the_lists_seed_by_seed(write) -> None:
    suite = read_suite(write(SUITE))
    grid_points = suite.grid_points()
    assert len(grid_points) == 2 * 2 * 2 * 2 * 2
    assert (
        len({grid_point.key for grid_point in grid_points})
        == len({grid_point.name for grid_point in grid_points})
        == len(grid_points)
    )
    assert [grid_point.seed for grid_point in grid_points] == [3] * 16 + [1] * 16
    assert suite.baselines.controls == {"two, longer": "one"}
    assert suite.metric is None


def test_grid_point_has_the_settings_of_a_run(write) -> None:
    grid_points = read_suite(write(SUITE)).grid_points()
    (grid_point,) = [c for c in grid_points if c.block.items() >= WANTED.items()]
    assert grid_point.settings == {
        "method": "two",
        "dataset": "spots",
        "backbones": ["tiny", "wide"],
        "seed": 1,
        "clients": 3,
        "steps": 16,
        "partitioner": "dirichlet",
        "set": {"partitioner.alpha": 1.0, "local_update.mu": 0.1, "dataset.train": 90},
    }
    text = json.dumps(grid_point.settings, sort_keys=True, separators=(",", ":"))
    assert grid_point.key == hashlib.sha256(text.encode()).hexdigest()
    assert grid_point.name == f"two-longer-spots-dirichlet-1.0-s1-{grid_point.key[:8]}"
    assert (grid_point.spec.steps, grid_point.spec.epochs, grid_point.spec.backbones) == (16, None, ("tiny", "wide"))


WANTED = {"entry": "two, longer", "dataset": "spots", "partition": "Dirichlet 1.0", "backbones": "tiny,wide", "seed": 1}


def test_entry_can_have_its_own_backbones(write) -> None:
    grid_points = read_suite(write(SUITE.replace('method = "one"', 'method = "one"\nbackbones = "wide"'))).grid_points()
    own = {
        (grid_point.backbones, tuple(grid_point.settings["backbones"]))
        for grid_point in grid_points
        if grid_point.entry == "one"
    }
    assert own == {("tiny", ("wide",)), ("tiny,wide", ("wide",))}


def test_partition_without_a_name_is_named_after_its_settings(write) -> None:
    assert [row.name for row in read_suite(write(SUITE)).partitions] == [
        "Dirichlet 1.0",
        "shards, classes_per_client 2",
    ]


def test_suite_has_twelve_seeds_and_one_partition_by_default(write) -> None:
    text = 'name="small"\nquestion="?"\ndatasets=["spots"]\nbackbones=["tiny"]\n[[entries]]\nmethod="one"\n'
    suite = read_suite(write(text))
    assert suite.seeds == tuple(range(12))
    assert len(suite.grid_points()) == 12
    assert read_suite(write(f"seeds=3\n{text}")).seeds == (0, 1, 2)


@given(st.randoms(use_true_random=False))
def test_key_does_not_depend_on_the_order_of_the_file(random) -> None:
    def shuffled(value):
        if isinstance(value, dict):
            items = list(value.items())
            random.shuffle(items)
            return {name: shuffled(inner) for name, inner in items}
        return value

    def listed(rows):
        rows = [shuffled(row) for row in rows]
        random.shuffle(rows)
        return rows

    values = {
        "name": "x",
        "question": "?",
        "datasets": ["b", "a"],
        "backbones": ["p", "q"],
        "seeds": [2, 0, 1],
        "settings": {"clients": 3, "lr": 0.1, "set": {"partitioner.alpha": 1.0, "dataset.train": 5}},
        "partitions": [{"partitioner": "iid"}, {"name": "d", "set": {"partitioner.min_size": 3}}],
        "entries": [{"method": "one", "rounds": 3}, {"name": "n", "method": "two", "set": {"a.b": 1, "c.d": "x"}}],
    }
    other = {name: listed(value) if isinstance(value, list) else shuffled(value) for name, value in values.items()}
    assert {grid_point.key for grid_point in Suite(**shuffled(other)).grid_points()} == {
        grid_point.key for grid_point in Suite(**values).grid_points()
    }


@pytest.mark.parametrize("other", [{"lr": 0.2}, {"set": {"partitioner.alpha": 2.0}}, {"steps": 4}])
def test_key_depends_on_every_setting(other) -> None:
    values = {"name": "x", "question": "?", "datasets": ["a"], "backbones": ["p"], "partitions": [{}], "seeds": 1}
    keys = [Suite(**values, entries=[{"method": "one", **more}]).grid_points()[0].key for more in ({}, other)]
    assert keys[0] != keys[1]


def test_budget_of_an_entry_replaces_that_of_the_suite() -> None:
    assert merged({"epochs": 3, "lr": 1}, {"steps": 4}) == {"lr": 1, "steps": 4}
    assert merged({"steps": 3}, {"epochs": 4}) == {"epochs": 4}
    assert merged({"steps": 3}, {"lr": 2}) == {"steps": 3, "lr": 2}


WRONG = {
    "name": ('name = "small"', 'name = "other"', "its name is 'other'; expected 'small'"),
    "no seeds": ("seeds = [3, 1]", "seeds = 0", "seeds: tuple should have at least 1 item"),
    "seed twice": ("seeds = [3, 1]", "seeds = [3, 1, 3]", "seeds: 3 appears twice"),
    "dataset twice": ('["spots", "phantom"]', '["spots", "spots"]', "datasets: 'spots' appears twice"),
    "no datasets": ('["spots", "phantom"]', "[]", "datasets: tuple should have at least 1 item"),
    "size": (
        'seeds = [3, 1]\ndatasets = ["spots", "phantom"]',
        f"seeds = 10000\ndatasets = {[str(number) for number in range(100)]}",
        "grid points; expected at most",
    ),
    "seed": ("seeds = [3, 1]", "seeds = [-1]", "seeds.0: got -1; input should be greater than or equal to 0"),
    "no entries": ("[[entries]]", "[[rows]]", "entries: field required"),
    "key": ("[baselines]", "[control]", "control: extra inputs are not permitted"),
    "metric": ("seeds =", 'metric = "acuracy"\nseeds =', "No metric named 'acuracy'"),
    "public": ("steps = 16", "public = 0.1", "set public in [settings]"),
    "setting": (
        "steps = 16",
        "stepps = 16",
        "entry 'two, longer', partition 'Dirichlet 1.0': No setting named 'stepps'",
    ),
    "range": ("steps = 16", "steps = 0", "--steps: got 0; input should be greater than or equal to 1"),
    "both": ("epochs = 2", "epochs = 2\nsteps = 3", "give --epochs or --steps, not both"),
    "no method": ('method = "two"', "rounds = 2", "an entry needs a method"),
    "axis": ("steps = 16", "seed = 16", "seed is an axis of the suite"),
    "control": ('steps = "one"', 'steps = "three"', "No entry (of [baselines]) named 'three'"),
    "twins": ('name = "two, longer"', 'name = "one"', "entries: 'one' appears twice"),
    "alike": ('name = "two, longer"\nmethod = "two"', 'name = "One"\nmethod = "two"', None),
    "toml": ("[baselines]", "[baselines", "Expected ']'"),
    "no table": ('set = {"dataset.train" = 60}', "set = 3", "set: expected a table of options, got 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_invalid_file_is_refused_with_its_path_and_reason(write, case) -> None:
    old, new, message = WRONG[case]
    assert old in SUITE
    path = write(SUITE.replace(old, new))
    if message is None:  # names that differ only in case have different keys
        text = path.read_text().replace('"two, longer" = "one"', '"One" = "one"')
        assert len(read_suite(write(text)).grid_points()) == 32
        return
    with pytest.raises(RequestError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}"):
        read_suite(path)


@pytest.mark.parametrize("name", ["two, longer", "shards", "phantom"])
def test_name_that_makes_the_files_of_records_too_long_is_refused(write, name: str) -> None:
    text = SUITE.replace('partitioner = "shards"', 'name = "shards"\npartitioner = "shards"')
    read_suite(write(text))
    with pytest.raises(RequestError, match=r"small\.toml.*at most 200"):
        read_suite(write(text.replace(f'"{name}"', f'"{name * 40}"')))


def test_missing_file_is_refused_with_the_files_that_exist(write, tmp_path) -> None:
    there = write(SUITE)
    with pytest.raises(RequestError, match=f"other.toml.*{re.escape(str(there))}"):
        read_suite(tmp_path / "other.toml")


def test_suites_and_filed_records_are_read_without_torch() -> None:
    code = (
        "import fedbench_core.suites.filed_records, fedbench_core.suites.status, sys; "
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", ['{"failed": 5}', '{"failed": {"a": 5}}', '{"other": {}}', "[]", "\0"])
def test_damaged_reasons_of_missing_records_are_not_used(tmp_path, text) -> None:
    (tmp_path / "small.unrecorded.json").write_text(text)
    assert Unrecorded.read(tmp_path, "small") == Unrecorded()


SUITES = sorted((Path(__file__).parents[2] / "leaderboards" / "suites").glob("*.toml"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_suites_of_this_repository_are_valid(path) -> None:
    suite = read_suite(path)
    baselines = suite.baselines
    if len(suite.seeds) > 1 and not suite.smoke_test:  # else nothing is ranked: the suite measures costs
        assert all((baselines.steps, baselines.flops, baselines.centralized, baselines.tuned)), (
            "needed by a leaderboard"
        )
        assert len(suite.seeds) == 12
