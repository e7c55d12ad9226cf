"""However a run is computed, its record is the same but for the block `how`."""

import json

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import RequestError, RunError
from fedbench_core.results.record import comparable, read_record
from fedbench_core.results.run import How

SMALL = {"dataset": "spots", "clients": 4, "rounds": 4, "steps": 2, "batch_size": 8}
KINDS = {
    "stateless": {"method": "fedavg", "backbones": "tiny"},
    "absent clients": {"method": "fedprox", "backbones": "tiny", "fraction": 0.75, "dropout": 0.3},
    "stateful": {"method": "kit-pair", "backbones": "tiny"},
    "stateful, absent clients": {
        "method": "kit-pair",
        "backbones": "tiny",
        "clients": 12,
        "rounds": 9,
        "fraction": 0.5,
    },
    "hub with a memory": {"method": "kit-thrifty", "backbones": "tiny"},
    "ring": {"method": "kit-ring", "backbones": "tiny,wide"},
    "ring, a full circle": {"method": "kit-ring", "backbones": "tiny,wide", "set": {"topology.hops": 0}},
    "pooled": {"method": "pooled", "backbones": "tiny"},
}


def scientific(folder) -> dict:
    """What must not depend on how a run was computed: the record but for `how` and its seal, and the rows."""
    return {
        "record": comparable(read_record(folder)),
        **{name: (folder / name).read_text() for name in ("rounds.csv", "messages.csv")},
    }


@pytest.fixture(scope="module")
def undisturbed(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """What a serial run of a spec gives; computed once for each."""
    known = {}

    def compute(settings):
        key = json.dumps(settings, sort_keys=True)
        if key not in known:
            out = tmp_path_factory.mktemp("serial")
            known[key] = scientific(run(RunSpec.of(settings), How(out=out, executor="serial")).folder)
        return known[key]

    return compute


@pytest.mark.parametrize("how", [{"workers": 1}, {"workers": 2}, {"workers": 3, "checkpoint_every": 3}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_workers_do_not_change_a_bit(kind, how, undisturbed, tmp_path) -> None:
    settings = {**SMALL, **KINDS[kind]}
    finished = run(RunSpec.of(settings), How(out=tmp_path, **how))
    assert scientific(finished.folder) == undisturbed(settings)
    assert sorted(path.name for path in finished.folder.iterdir()) == ["messages.csv", "record.json", "rounds.csv"]


DOOMED = {**SMALL, "method": "kit-doomed", "backbones": "tiny,wide"}


def _doomed(tmp_path, **options) -> RunSpec:
    marks = tmp_path / "marks"
    marks.mkdir()
    settings = {"local_update.path": str(marks), **options}
    return RunSpec.of({**DOOMED, "set": settings})


@pytest.mark.parametrize("how", [{"workers": 1}, {"workers": 2, "checkpoint_every": 4}], ids=str)
@pytest.mark.parametrize("end", ["die", "hang"])
@pytest.mark.parametrize("hops", [1, 0])
def test_a_lost_worker_is_replaced_and_its_visit_repeated(end, hops, how, undisturbed, tmp_path) -> None:
    spec = _doomed(tmp_path, **{"local_update.end": end, "topology.hops": hops, "local_update.step": int(hops == 0)})
    limit = {"visit_timeout": 3.0} if end == "hang" else {}
    finished = run(spec, How(out=tmp_path / "runs", **how, **limit))
    assert len(list((tmp_path / "marks").iterdir())) == 1
    expected = undisturbed({**SMALL, "method": "kit-ring", "backbones": "tiny,wide", "set": {"topology.hops": hops}})
    found = scientific(finished.folder)
    assert found["rounds.csv"] == expected["rounds.csv"]
    assert found["messages.csv"] == expected["messages.csv"]
    assert found["record"]["test"] == expected["record"]["test"]


@pytest.mark.parametrize(("end", "cause"), [("die", "its worker died"), ("hang", "no answer within --visit-timeout 1")])
@pytest.mark.parametrize("hops", [1, 0])
def test_a_visit_that_never_ends_well_is_named(end, cause, hops, kit, tmp_path) -> None:  # noqa: ARG001  # installed
    options = {"local_update.end": end, "topology.hops": hops, "local_update.step": int(hops == 0)}
    spec = _doomed(tmp_path, **{**options, "local_update.times": 99})
    limit = {"visit_timeout": 1.0} if end == "hang" else {}
    whose = r"local update kit-doomed of fedbench-kit 1\.0"
    with pytest.raises(RunError, match=f"client 1, round 1: {cause}.* {whose}, 3 times"):
        run(spec, How(out=tmp_path / "runs", workers=2, **limit))


def test_a_plugin_that_raises_is_named_by_every_executor(kit, tmp_path) -> None:  # noqa: ARG001  # installed
    spec = RunSpec.of(
        {**SMALL, "method": "kit-faulty", "backbones": "tiny", "set": {"local_update.fault": "raise"}},
    )
    told = []
    for executor in ("serial", "processes"):
        with pytest.raises(
            RunError, match=r"client 1, round 1: local update kit-faulty of fedbench-kit 1\.0 raised ZeroDivisionError"
        ) as error:
            run(spec, How(out=tmp_path / executor, executor=executor, workers=2))
        told.append(str(error.value))
    assert told[0] == told[1]


def test_a_limit_on_visits_needs_processes(kit, tmp_path) -> None:  # noqa: ARG001  # installed
    with pytest.raises(RequestError, match="--visit-timeout"):
        run(RunSpec.of({**SMALL, **KINDS["ring"]}), How(out=tmp_path, executor="serial", visit_timeout=1.0))
