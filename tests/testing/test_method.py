import pytest

from fedbench_core.api import RunError
from fedbench_core.federation.setting import resolve
from fedbench_core.registry import registry
from fedbench_core.results.run import How, run
from fedbench_core.testing import MethodContract
from fedbench_core.testing.method import BACKBONE, _assert_same
from fedbench_core.testing.small import federate, shares_of

FAULTY = """
from collections import Counter
from dataclasses import dataclass, replace
from fedbench_core.api import Compressor, LocalUpdate, Method, Payload, Reply, hookimpl
from fedbench_core.learning import adopt, fit

SEEN = Counter()

@dataclass(frozen=True)
class Avg(LocalUpdate):
    def update(self, client, heard, ctx):
        net = adopt(heard, client, ctx)
        metrics = fit(net, client, ctx)
        return Reply(Payload.of(net), len(client.train), metrics)

    def predictors(self, client, heard, ctx):
        return {"global": adopt(heard, client, ctx)}

class Stubborn(Avg):
    def predictors(self, client, heard, ctx):
        return {"global": adopt(None, client, ctx)}

class Queue(Avg):
    def update(self, client, heard, ctx):
        SEEN["visits"] += 1
        reply = super().update(client, heard, ctx)
        return replace(reply, metrics={**reply.metrics, "place": SEEN["visits"] % 3})

class Proud(Avg):
    def update(self, client, heard, ctx):
        if client.memory.setdefault("next", 0) != ctx.round:
            raise ValueError("I was not asked")
        client.memory["next"] = ctx.round + 1
        return super().update(client, heard, ctx)

@hookimpl
def fedbench_register_local_updates():
    return {"t-avg": Avg, "t-stubborn": Stubborn, "t-queue": Queue, "t-proud": Proud}

@hookimpl
def fedbench_register_methods():
    return {
        "t-silent": Method("t-avg"),
        "t-stubborn": Method("t-stubborn", summary="Predicts what it started with."),
        "t-queue": Method("t-queue", summary="Counts visits in the process."),
        "t-mixed": Method("t-avg", summary="Claims to mix.", mixed_backbones=True),
        "t-proud": Method("t-proud", summary="Claims to bear absence."),
        "t-guess": Method("t-avg", summary="Of what?", fidelity="reconstruction"),
    }
"""


@pytest.fixture
def suite(distribution, tmp_path):
    """A suite for one of the faulty methods, and what runs it."""
    distribution("fedbench-faulty", FAULTY)
    registry.cache_clear()

    def make(name):
        one = type("Suite", (MethodContract,), {"name": name})()
        return one, lambda **settings: run(one.spec(**settings), How(tmp_path, cache=tmp_path, executor="serial"))

    yield make
    registry.cache_clear()


def test_a_suite_without_a_name_says_so() -> None:
    with pytest.raises(TypeError, match="needs the name of a registered method"):
        MethodContract().test_describes_itself()


@pytest.mark.parametrize(("name", "says"), [("t-silent", "has no summary"), ("t-guess", "Name the paper")])
def test_a_method_that_does_not_describe_itself_is_told(suite, name, says) -> None:
    with pytest.raises(AssertionError, match=says):
        suite(name)[0].test_describes_itself()


def test_a_method_that_does_not_learn_is_caught(suite) -> None:
    one, go = suite("t-stubborn")
    with pytest.raises(AssertionError, match=r"where guessing gives 0\.125"):
        one.test_learns(go)


def test_a_method_that_counts_visits_in_its_process_is_caught(suite, tmp_path) -> None:
    one, go = suite("t-queue")
    setting = resolve(one.spec())
    finished = go()
    again = tmp_path / "again", *federate(setting, shares_of(setting.spec, tmp_path), tmp_path / "again")
    with pytest.raises(AssertionError, match=r"rounds\.csv is another when .* computed backwards"):
        one.test_order_of_visits_is_irrelevant(go, again)
    with pytest.raises(AssertionError, match=r"rounds\.csv is another with a second run"):
        _assert_same(finished, run(one.spec(seed=1), How(tmp_path, cache=tmp_path, executor="serial")), "a second run")


def test_bytes_that_were_not_recorded_are_caught(suite, tmp_path) -> None:
    one, go = suite("t-stubborn")
    setting = resolve(one.spec())
    again = tmp_path / "again", *federate(setting, shares_of(setting.spec, tmp_path), tmp_path / "again")
    one.test_recorded_bytes_are_the_blobs(go, again)
    table = go().folder / "messages.csv"
    rows = table.read_text().splitlines()
    first = rows[1].split(",")
    table.write_text("\n".join([rows[0], ",".join([*first[:4], str(int(first[4]) - 1), first[5]]), *rows[2:]]))
    with pytest.raises(AssertionError, match=r"record and messages\.csv differ"):
        one.test_recorded_bytes_are_the_blobs(go, again)


def test_a_method_that_cannot_mix_backbones_but_says_so_is_caught(suite) -> None:
    one, go = suite("t-mixed")
    with pytest.raises(RunError):
        one.test_mixed_backbones_exactly_where_declared(go)
    assert BACKBONE in one.spec().backbones


def test_a_method_that_cannot_bear_absence_but_says_so_is_caught(suite) -> None:
    one, go = suite("t-proud")
    with pytest.raises(RunError, match="I was not asked"):
        one.test_absence_exactly_where_declared(go, {"fraction": 0.34})
