"""Methods of kinds that a server which only averages can't carry: identities, same bits, and what is refused."""

from pathlib import Path

import pandas as pd
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import RequestError, RunError
from fedbench_core.federation.assembly import resolve
from fedbench_core.records.record import comparable, read_record
from fedbench_core.runner import How, resume

HERE = Path(__file__).parent
SMALL = {"backbones": "tiny", "dataset": "spots", "clients": 4, "rounds": 4, "steps": 2, "batch_size": 8, "public": 0.3}
SMALL |= {"optimizer": "sgd", "schedule": "constant"}
MIXED = {"backbones": "tiny,wide"}
DISTILLED = {"aggregator.steps": 3, "aggregator.batch_size": 8}
KINDS = {
    "scaffold": {"method": "scaffold", "fraction": 0.75},
    "scaffold, option I": {"method": "scaffold", "set": {"local_update.option": "I"}},
    "feddf": {"method": "feddf", **MIXED, "fraction": 0.5, "set": DISTILLED},
    "fedamp": {"method": "fedamp", "fraction": 0.75},
    "fedmd": {"method": "new-fedmd", **MIXED, "fraction": 0.75},
}
METHODS = ("scaffold", "feddf", "fedamp", "fedmd")
BASELINES = {
    "fedper": {"method": "fedper", "fraction": 0.75},
    "fedrep": {"method": "fedrep", "fraction": 0.75},
    "fedproto": {"method": "fedproto", **MIXED, "fraction": 0.75, "set": {"local_update.size": 4}},
    "ditto": {"method": "ditto", "fraction": 0.75},
    "fedbn": {"method": "fedbn", "fraction": 0.75},
    "fml": {"method": "fml", **MIXED, "fraction": 0.75, "set": {"local_update.meme": "tiny"}},
    "lg-fedavg": {"method": "lg-fedavg", **MIXED, "fraction": 0.75},
    "fd": {"method": "fd", **MIXED, "fraction": 0.75},
    "fedtgp": {
        "method": "fedtgp",
        **MIXED,
        "fraction": 0.75,
        "set": {"local_update.size": 4, "aggregator.epochs": 3},
    },
    "moon": {"method": "moon", "fraction": 0.75, "set": {"local_update.size": 4}},
    "fedmrl": {
        "method": "fedmrl",
        **MIXED,
        "fraction": 0.75,
        "set": {"local_update.small": "tiny", "local_update.size": 4},
    },
}
"""Methods of kinds that the others are of, too."""
WORKERS = [
    pytest.param(kind, workers, marks=() if (kind, workers) in (("feddf", 3), ("fedmd", 3)) else pytest.mark.slow)
    for kind in (*METHODS, *BASELINES)
    for workers in (1, 2, 3)
]
INTERRUPTED = [(kind, after) for kind in METHODS for after in (1, 5, 9)]
INTERRUPTED += [pytest.param(kind, 6, marks=pytest.mark.slow) for kind in BASELINES]


@pytest.fixture(scope="module")
def spec(kit, installed):  # noqa: ARG001  # its parts must be installed
    """A spec of milliseconds: `spec("feddf", rounds=2)`, `spec(method="fedavg")`; options with their dot."""
    installed("fedbench-new", (HERE / "new_methods.py").read_text())

    def make(kind: str = "", **settings: object) -> RunSpec:
        known = {**SMALL, **(KINDS | BASELINES).get(kind, {})}
        options = {**known.pop("set", {}), **{key: settings.pop(key) for key in list(settings) if "." in key}}
        return RunSpec.of({**known, **settings, "set": options})

    return make


@pytest.fixture(scope="module")
def go(spec, tmp_path_factory):
    """Run a small spec in this process; the same one is run once."""
    shared = tmp_path_factory.mktemp("runs")
    return lambda kind="", **settings: run(spec(kind, **settings), How(out=shared, cache=shared, executor="serial"))


def _scientific(folder: Path) -> dict[str, object]:
    rows = {name: (folder / name).read_text() for name in ("clients.csv", "messages.csv")}
    return {"record": comparable(read_record(folder)), **rows}


@pytest.mark.parametrize(("kind", "workers"), WORKERS)
def test_workers_do_not_change_a_bit(kind, workers, spec, go, tmp_path) -> None:
    finished = run(spec(kind), How(out=tmp_path, workers=workers))
    assert _scientific(finished.folder) == _scientific(go(kind).folder)


class Stopped(Exception):  # noqa: N818  # as an interrupt
    """Ends a run between two turns."""


@pytest.mark.parametrize(("kind", "after"), INTERRUPTED)
def test_interrupted_run_resumes_with_the_same_bits(kind, after, spec, go, tmp_path) -> None:
    events = []

    def stop(event) -> None:
        events.extend([] if event.stage else [event])
        if len(events) == after:
            raise Stopped

    how = How(out=tmp_path, executor="serial")
    with pytest.raises(Stopped):
        run(spec(kind), how, stop)
    [folder] = tmp_path.iterdir()
    assert _scientific(resume(folder, how).folder) == _scientific(go(kind).folder)


@pytest.mark.parametrize("kind", [*KINDS, *BASELINES])
def test_training_loss_differs_in_every_round(kind, go) -> None:
    clients = pd.read_csv(go(kind).folder / "clients.csv")
    losses = clients[clients["loss"] > 0].groupby("round")["loss"].mean()
    assert losses.nunique() == len(losses) > 1


def _same_scores(one, other) -> None:
    assert one.record["test"]["metrics"] == other.record["test"]["metrics"]
    assert one.record["curve"] == other.record["curve"]


def test_scaffold_has_fedavg_scores_after_one_round_and_others_after_two(go) -> None:
    plain = {"method": "fedavg", "momentum": 0, "aggregator.uniform": True}
    _same_scores(go(method="scaffold", rounds=1), go(**plain, rounds=1))
    two = [go(method="scaffold", rounds=2).clients["loss"], go(**plain, rounds=2).clients["loss"]]
    assert two[0][:4].tolist() == two[1][:4].tolist()
    three = [go(method="scaffold", rounds=3).clients["loss"], go(**plain, rounds=3).clients["loss"]]
    assert three[0][4:].tolist() != three[1][4:].tolist()


def test_scaffold_of_one_client_is_fedavg_within_rounding(go) -> None:
    losses = [
        go(method=method, clients=1, rounds=6, momentum=0).clients["loss"].tolist() for method in ("scaffold", "fedavg")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_feddf_without_steps_is_fedavg_to_the_bit(go) -> None:
    distilled = go(method="feddf", fraction=0.75, **{"aggregator.steps": 0})
    plain = go(method="fedavg", fraction=0.75)
    _same_scores(distilled, plain)
    assert distilled.clients["loss"].tolist() == plain.clients["loss"].tolist()


def test_feddf_counts_the_public_images_once_per_client(go) -> None:
    finished = go("feddf")
    messages = finished.messages
    public = 18 * 8 * 8 * 3  # 30 % of 60 images of 8 x 8 x 3 bytes
    first = messages[(messages.sender == -1) & (messages.bytes == public)]
    assert sorted(first.receiver) == sorted(messages[messages.sender >= 0].sender.unique())


def test_feddf_trains_on_the_server_and_its_flops_are_counted(go) -> None:
    costs = [go(method="feddf", **{"aggregator.steps": steps, "aggregator.batch_size": 8}) for steps in (0, 3)]
    assert [one.record["costs"]["aggregation_gflops"] > 0 for one in costs] == [False, True]


@pytest.mark.parametrize("settings", [{"share": False}, {"pull": 0.0}], ids=str)
def test_fedamp_without_exchange_or_pull_is_local_to_the_bit(settings, go) -> None:
    personal = go(method="fedamp", fraction=0.75, **{f"local_update.{name}": value for name, value in settings.items()})
    alone = go(method="local", fraction=0.75)
    _same_scores(personal, alone)
    assert personal.clients["loss"].tolist() == alone.clients["loss"].tolist()
    assert (personal.record["costs"]["bytes_up"] == 0) == ("share" in settings)


def test_fedamp_gives_each_client_a_channel(go) -> None:
    messages = go(method="fedamp").messages
    down = messages[messages.sender == -1]
    assert down.groupby("round").receiver.apply(list).tolist() == [[0, 1, 2, 3]] * 3


def test_fedmd_has_two_phases_of_which_the_first_receives_nothing(go) -> None:
    finished = go(method="new-fedmd", **MIXED)
    messages = finished.messages
    own = messages[messages.bytes != 18 * 8 * 8 * 3]  # without the public images
    assert own.groupby("phase").apply(lambda rows: (rows.sender == -1).all(), include_groups=False).tolist() == [
        False,
        True,
    ]
    assert own.groupby(["round", "phase"]).size().tolist() == [4, 4] * 4
    assert own[own.phase == 0].bytes_dense.max() < 10 * 3 * 4 + 200


def test_fedmd_nodes_draw_the_same_public_subset_in_both_phases(go) -> None:
    subsets = go(method="new-fedmd", **MIXED).clients.groupby("round")["subset"]
    assert subsets.nunique().tolist() == [1] * 4
    assert len(set(subsets.first())) > 1


def test_fedmd_models_come_nearer_to_the_consensus(go) -> None:
    clients = go(method="new-fedmd", **MIXED, rounds=8).clients
    digests = clients[clients.phase == 1].groupby("round")["digest"].mean()
    assert digests.iloc[0] > 0


@pytest.mark.parametrize("method", ["feddf", "new-fedmd"])
def test_method_that_needs_public_images_says_what_to_add(method, spec) -> None:
    with pytest.raises(RequestError, match="--public") as error:
        resolve(spec(method=method, public=None))
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"optimizer": "adam"}, "--optimizer"),
        ({"momentum": 0.9}, "--momentum"),
        ({"compressor": "half"}, "compressor"),
        ({"downlink": "half"}, "downlink"),
        ({"aggregator": "mean"}, "aggregator"),
    ],
    ids=str,
)
def test_scaffold_refuses_settings_that_break_it(settings, named, spec) -> None:
    with pytest.raises(RequestError, match=named) as error:
        resolve(spec(method="scaffold", **settings))
    assert error.value.exit_code == 2


def test_scaffold_sets_what_it_needs(spec) -> None:
    training = resolve(spec(method="scaffold")).spec.training
    assert (training.optimizer, training.momentum) == ("sgd", 0.0)


def test_two_turns_of_one_client_in_a_phase_are_refused(spec) -> None:
    with pytest.raises(RunError, match=r"new-wrong.*client 1") as error:
        resolve(spec(method="fedavg", topology="new-wrong"))
    assert error.value.exit_code == 1


def test_message_to_a_client_that_does_not_take_part_is_refused(go) -> None:
    with pytest.raises(RunError, match=r"round \d.*new-wrong.*client 0") as error:
        go(method="fedavg", topology="new-wrong", **{"topology.fault": "astray"}, fraction=0.5, rounds=8)
    assert error.value.exit_code == 1


def test_channel_that_nobody_reads_is_refused(go) -> None:
    with pytest.raises(RunError, match=r"new-astray.*'nobody'") as error:
        go(method="fedavg", aggregator="new-astray")
    assert error.value.exit_code == 1
