import hashlib
import json
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fedbench_core import RunSpec, run
from fedbench_core.api import RunError
from fedbench_core.records.record import comparable, comparable_pair, read_record, sealed, write_record
from fedbench_core.runner import How

SMALL = {"backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def finished(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """Run a method on small data; equal calls return the run that is already finished."""
    out = tmp_path_factory.mktemp("runs")
    return lambda method="fedavg", **more: run(
        RunSpec.of({**SMALL, "method": method, **more}), How(out=out, executor="serial")
    )


def test_record_is_strict_json_with_the_documented_blocks(finished) -> None:
    text = (finished().folder / "record.json").read_text()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert set(record) == {
        *("format", "spec", "spec_digest", "method", "data", "population", "test", "selected", "curve"),
        *("rounds_skipped", "tables", "notes", "costs", "versions", "how", "digest"),
    }
    assert record == finished().record


def test_spec_is_resolved_and_its_digest_depends_on_the_spec_alone(finished) -> None:
    record = finished().record
    spec = RunSpec.of(record["spec"])
    assert spec.digest == record["spec_digest"]
    assert (spec.aggregator, spec.compressor, spec.topology) == ("mean", "dense", "star")
    assert finished().folder.name == f"fedavg-spots-s0-{spec.digest[:8]}"


def test_details_of_the_machine_are_in_the_block_how_alone(finished) -> None:
    how = finished().record["how"]
    assert {"started", "seconds", "executor", "workers", "peak_memory_bytes", "machine"} <= set(how)
    elsewhere = json.dumps({key: value for key, value in finished().record.items() if key != "how"})
    for private in (how["started"], how["machine"], str(finished().folder.parent)):
        assert private not in elsewhere


def test_versions_are_those_of_the_distributions_used(finished) -> None:
    versions = finished().record["versions"]
    assert {"fedbench-core", "fedbench-fedavg", "fedbench-kit", "torch", "timm", "numpy", "python"} <= set(versions)
    assert "fedbench-fedprox" not in versions
    assert "fedbench-fedavg" not in finished("local").record["versions"]


def test_data_block_describes_the_dataset(finished) -> None:
    data = finished().record["data"]
    assert (data["name"], data["official"], data["task"]) == ("spots", True, "multi-class")
    assert data["classes"] == ["kind 0", "kind 1", "kind 2"]
    assert data["images"] == {"train": 60, "val": 24, "test": 30}
    assert data["image_shape"] == [8, 8, 3]


def test_population_block_describes_the_clients(finished) -> None:
    population = finished("local", backbones="tiny,wide").record["population"]
    assert (population["clients"], population["trained"]) == (3, 3)
    assert population["backbones"] == ["tiny", "wide", "tiny"]
    assert sum(population["images"]["test"]) == 30


def test_costs_match_a_hand_count(finished) -> None:
    """Two rounds of three clients; 6 x 3 x 3 x 3 + 6 of the convolution, 12 of the norm, 6 x 3 + 3 of the head."""
    costs = finished().record["costs"]
    parameters = (6 * 27 + 6) + 12 + (18 + 3)
    assert costs["backbones"]["tiny"]["parameters"] == parameters
    one = costs["backbones"]["tiny"]["bytes"]
    assert parameters * 4 + 2 * 6 * 4 + 8 < one < parameters * 4 + 1500
    assert (costs["bytes_up"], costs["bytes_down"], costs["bytes_peer"]) == (6 * one, 6 * one, 0)
    assert costs["bytes_down_after"] == 3 * one
    assert costs["bytes_dense"] == costs["bytes_whole_models"] == 12 * one


def test_flops_match_a_hand_count(finished) -> None:
    """A step's flops: two per multiplication, forward once; backward to the weights, and to the inputs of the head."""
    forward = 2 * (27 * 6 * 9 + 6 * 3)  # 27 inputs for each of 6 channels at 3 x 3 places; the head
    backward = forward + 2 * 6 * 3  # gradients of the weights, and of the input of the head
    costs, shares = finished().record["costs"], finished().record["population"]["images"]["train"]
    assert shares == [15, 14, 31]
    images = 2 * ((8 + 7) + (8 + 6) + (8 + 8))  # rounds, and two batches of up to 8
    assert costs["training_gflops"] * 1e9 == pytest.approx((forward + backward) * images)
    assert finished(rounds=4).record["costs"]["training_gflops"] == pytest.approx(2 * costs["training_gflops"])


def test_costs_of_two_models_are_twice_those_of_one(finished) -> None:
    alone, pair = (finished(method).record["costs"]["training_gflops"] for method in ("fedavg", "kit-pair"))
    assert pair == pytest.approx(2 * alone)


def test_record_is_read_from_its_file_or_folder(finished) -> None:
    folder = finished().folder
    assert read_record(folder) == read_record(folder / "record.json") == finished().record


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"record\.json"),
        ('{"format": 99}', r"record\.json has format 99.*reads format 3\. Upgrade fedbench-core"),
        ('{"format": 2}', r"record\.json has format 2.*reads format 3\. .*fedbench run --config .*record\.json$"),
        ("{}", r"record\.json has format None.*fedbench run --config"),
        ("[]", r"record\.json .*list"),
        (None, r"record\.json .*No such file"),
    ],
)
def test_file_that_is_not_a_record_of_this_format_is_refused(tmp_path, text, message) -> None:
    if text is not None:
        (tmp_path / "record.json").write_text(text)
    with pytest.raises(RunError, match=message):
        read_record(tmp_path)


def test_digest_is_that_of_the_file_without_its_line(finished) -> None:
    file = finished().folder / "record.json"
    rest = "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith('"digest"'))
    assert hashlib.sha256(rest.encode()).hexdigest() == finished().record["digest"]


def test_record_that_is_only_reformatted_is_accepted(finished, tmp_path) -> None:
    for number, layout in enumerate(({"indent": 2}, {"sort_keys": True}, {"separators": (" ,", " : ")})):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(finished().record, **layout))
        assert read_record(file) == finished().record


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_record_with_one_changed_character_is_refused_by_name(finished, tmp_path, data) -> None:
    text = (finished().folder / "record.json").read_text()
    place = data.draw(st.integers(0, len(text) - 2))
    other = data.draw(st.sampled_from(sorted(set('0123456789abef,.-{}[]"') - {text[place]})))
    file = tmp_path / "record.json"
    changed = text[:place] + other + text[place + 1 :]
    assume(not _equal(changed, text))
    file.write_text(changed)
    with pytest.raises(RunError, match=re.escape(str(file))):
        read_record(file)


def _equal(one: str, other: str) -> bool:
    """Whether two documents hold the same values, as 1.0 and 1e0 are the same."""
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@given(st.data())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_record_that_is_truncated_is_refused_by_name(finished, tmp_path, data) -> None:
    text = (finished().folder / "record.json").read_text()
    file = tmp_path / "record.json"
    file.write_text(text[: data.draw(st.integers(0, len(text) - 2))])
    with pytest.raises(RunError, match=re.escape(str(file))):
        read_record(file)


def test_record_without_its_digest_is_refused(finished, tmp_path) -> None:
    contents = {name: value for name, value in finished().record.items() if name != "digest"}
    (tmp_path / "record.json").write_text(json.dumps(contents))
    with pytest.raises(RunError, match="was altered"):
        read_record(tmp_path)


@pytest.mark.parametrize("name", ["clients.csv", "messages.csv"])
def test_altered_table_of_a_finished_run_is_refused_by_name(name, kit, tmp_path) -> None:  # noqa: ARG001  # installed
    first = run(RunSpec.of({**SMALL, "method": "fedavg"}), How(out=tmp_path, executor="serial"))
    assert len(getattr(first, name.removesuffix(".csv")))
    table = first.folder / name
    table.write_text(table.read_text().replace("1", "2", 1))
    for read in (
        lambda: read_record(first.folder),
        lambda: read_record(first.folder / "record.json"),
        lambda: getattr(first, name.removesuffix(".csv")),
    ):
        with pytest.raises(RunError, match=f"{table} was altered"):
            read()
    table.unlink()
    assert read_record(first.folder) == first.record
    earlier = {key: value for key, value in first.record.items() if key not in ("tables", "digest")}
    (first.folder / "clients.csv").write_text("anything")
    write_record(first.folder / "record.json", sealed(earlier))
    assert "tables" not in read_record(first.folder)
    assert comparable_pair(first.record, earlier) == (comparable(earlier), comparable(earlier))
