"""Formulas that other harnesses got wrong. What is asked of ours fails, each time, on the faulty one beside it."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from fedbench_core import RunSpec, run
from fedbench_core.api import Examples, RoundContext, Splits, Task, Training
from fedbench_core.federation.calls import PredictCall
from fedbench_core.federation.evaluation import evaluate
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.scoring import ModelScore, Scored
from fedbench_core.learning import batches
from fedbench_core.runner import How
from fedbench_core.statistics.friedman import dataset_means, rank_over_datasets
from fedbench_core.statistics.intervals import defined_mean
from fedbench_core.statistics.pairs import compare, holm


def _holds(check: Callable[[Callable], None], *, ours: Callable, faulty: Callable) -> None:
    """What is asked holds of our formula, and would have found the faulty one."""
    check(ours)
    with pytest.raises(AssertionError):
        check(faulty)


def _most(boards: int) -> float:
    """The 99.9 % bound on how many of so many boards of equals may name a difference, at a true 5 %."""
    return stats.binom.ppf(0.999, boards, 0.05)


def test_1_the_score_is_that_of_the_last_round_and_never_the_best_on_test_images(kit, tmp_path) -> None:  # noqa: ARG001  # its parts must be installed
    """Rates too high to settle: the test score goes up and down, so its maximum is not its end."""
    settings = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "clients": 3, "evaluate_on": "test"}
    budget = {"rounds": 8, "steps": 2, "batch_size": 8, "lr": 1.0, "seed": 1}
    record = run(RunSpec.of({**settings, **budget}), How(out=tmp_path, executor="serial")).record
    curve = [point["personalization"] for point in record["curve"]]

    def check(score: Callable[[], float]) -> None:
        assert score() == curve[-1]

    _holds(check, ours=lambda: record["test"]["metrics"]["personalization"], faulty=lambda: max(curve))
    assert record["selected"] is None  # nothing is chosen where the curve is of test images


def test_2_repeats_are_other_draws_and_can_be_drawn_again() -> None:
    """One seed for the constructor of every client of every repeat, and generators that nobody seeds."""
    examples = Examples(
        np.arange(24, dtype=np.uint8)[:, None, None], np.zeros((24, 1), np.int64), np.arange(24), "none"
    )

    def ours(seed: int, client: int) -> list[int]:
        ctx = RoundContext(0, 1, 0, seed, Task("binary", ("a", "b")), Training(epochs=1, batch_size=24), node=client)
        [batch] = batches(examples, ctx)
        return batch.images.flatten().tolist()

    def seeded_in_the_constructor(seed: int, client: int) -> list[int]:  # noqa: ARG001  # that is what is wrong
        return torch.randperm(24, generator=torch.Generator().manual_seed(0)).tolist()

    def unseeded(seed: int, client: int) -> list[int]:  # noqa: ARG001  # that is what is wrong
        return np.random.default_rng().permutation(24).tolist()

    def check(order: Callable[[int, int], list[int]]) -> None:
        drawn = [(seed, client) for seed in range(3) for client in range(3)]
        orders = [order(*which) for which in drawn]
        assert orders == [order(*which) for which in drawn]
        assert len(set(map(tuple, orders))) == len(drawn)

    _holds(check, ours=ours, faulty=seeded_in_the_constructor)
    _holds(check, ours=ours, faulty=unseeded)


def test_3_who_is_undefined_is_taken_off_once() -> None:
    scores = [0.5, None, 0.7, None, 0.6]

    def taken_off_twice(values):
        known = [value for value in values if value is not None]
        return sum(known) / (len(known) - (len(values) - len(known)))

    def check(mean: Callable) -> None:
        assert mean(scores) == pytest.approx(0.6)

    _holds(check, ours=lambda values: defined_mean(values)[0], faulty=taken_off_twice)
    assert defined_mean(scores)[1] == 2
    assert _scores_of_clients(scores) == (pytest.approx(0.6), 2)


def _scores_of_clients(scores) -> tuple[float, int]:
    """What a record says of clients with these AUCs: their mean, and how many have none."""
    shares = _shares(np.zeros(10 * len(scores), np.int64), len(scores), classes=2)
    own = np.tile(np.float32([1, 0]), (10, 1))
    done = [
        _done(i, ModelScore(str(i), {"auc": auc}, np.ones(2), np.full(7, 255, np.uint8)), own)
        for i, auc in enumerate(scores)
    ]
    found = evaluate(done, shares, "test", "labels")
    return found["metrics"]["auc"], found["undefined"]["auc"]


def _done(client, score, own) -> Scored:
    call = PredictCall("client", client, "net", (client,), 0, "test", 1, 0, None, None)
    return Scored(call, {"model": score}, {"model": own})


def _shares(labels, clients, classes) -> Partition:
    """A test set, dealt out in equal parts."""
    task = Task("multi-class", tuple("abcdefgh"[:classes]))
    images = np.zeros((len(labels), 1, 1), np.uint8)
    examples = Examples(images, np.asarray(labels)[:, None], np.arange(len(labels)), "none")
    splits = Splits("hand", task, examples, examples, examples, "", official=True)
    rows = np.split(np.arange(len(labels)), clients)
    counts = np.stack([np.bincount(labels[own], minlength=classes) for own in rows])
    return Partition(splits, {"train": rows, "test": rows}, counts)


@pytest.mark.parametrize("score", ["auc", "f1", "balanced_accuracy"])
def test_12_a_class_that_does_not_occur_costs_nobody_a_point(score) -> None:
    """Five of eight classes have images; the predictor is good at those, and sometimes says another."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 5, 400))
    logits = torch.from_numpy(rng.normal(size=(400, 8))).float()
    logits[torch.arange(400), labels] += 3
    probabilities = logits.softmax(dim=1)

    def ours(classes: int) -> float:
        return Task("multi-class", tuple("abcdefgh"[:classes])).scores(probabilities[:, :classes], labels)[score]

    def macro(classes: int) -> float:
        from torchmetrics.functional import classification  # noqa: PLC0415  # slow to import

        names = {"auc": "multiclass_auroc", "f1": "multiclass_f1_score", "balanced_accuracy": "multiclass_accuracy"}
        with warnings.catch_warnings(action="ignore"):
            measure = getattr(classification, names[score])
            return float(measure(probabilities[:, :classes], labels, num_classes=classes, average="macro"))

    def check(average: Callable[[int], float]) -> None:
        among_those_present = average(5)
        assert among_those_present > 0.8
        assert average(8) > among_those_present - 0.15  # other classes may be said instead, which costs a little

    _holds(check, ours=ours, faulty=macro)


def test_13_calibration_is_measured_on_all_clients_images_together() -> None:
    """A predictor that is calibrated by construction, tested by 100 clients with 20 images each."""
    rng = torch.Generator().manual_seed(0)
    probabilities = (2 * torch.randn(2000, 4, generator=rng)).softmax(dim=1)
    labels = torch.multinomial(probabilities, 1, generator=rng)[:, 0]
    shares = _shares(labels.numpy(), 100, classes=4)
    task = shares.splits.task

    def centralized() -> dict:
        correct = np.packbits(task.correct(probabilities, labels).numpy())
        own = [probabilities[rows].numpy() for rows in shares.indices["test"]]
        done = [_done(i, ModelScore("one", {}, np.ones(4), correct), mine) for i, mine in enumerate(own)]
        return evaluate(done, shares, "test", "labels")["metrics"]

    def by_client() -> dict:
        each = [task.calibration(probabilities[rows], labels[rows]) for rows in shares.indices["test"]]
        return {"ece": np.mean([found["ece"] for found in each]), "n": 2000}

    def check(calibration: Callable[[], dict]) -> None:
        found = calibration()
        assert found["n"] == 2000
        assert found["ece"] < 0.05

    _holds(check, ours=centralized, faulty=by_client)
    assert centralized()["brier"] == pytest.approx(task.calibration(probabilities, labels)["brier"], abs=1e-6)


def test_14_everybody_is_compared_with_everybody_and_not_with_the_best_seen() -> None:
    """Which entry is best is chosen by the same scores, so k - 1 comparisons with it are more than k - 1."""
    boards = np.random.default_rng(0).normal(size=(400, 12, 7))

    def all_pairs(board) -> bool:
        scores = {f"entry {i}": dict(enumerate(own)) for i, own in enumerate(board.T.tolist())}
        return any(pair.significant for pair in compare(scores))

    def with_the_best(board) -> bool:
        best = board.mean(axis=0).argmax()
        p = stats.ttest_rel(board[:, [best]], np.delete(board, best, axis=1)).pvalue
        return bool(holm(p)[0].any())

    def check(claims: Callable) -> None:
        assert sum(map(claims, boards)) <= _most(len(boards))

    _holds(check, ours=all_pairs, faulty=with_the_best)


def test_15_the_block_is_the_dataset() -> None:
    """Six datasets that suit some methods better, with no method better overall; five partitions of each agree."""
    rng = np.random.default_rng(0)
    partitions, seeds, entries = 5, 2, 5
    suits = rng.normal(size=(60, 6, 1, 1, entries))
    boards = suits + 0.2 * rng.normal(size=(60, 6, partitions, seeds, entries))

    def ours(board) -> bool:
        cells = [
            (f"dataset {d}", {f"entry {e}": dict(enumerate(board[d, p, :, e])) for e in range(entries)})
            for d in range(6)
            for p in range(partitions)
        ]
        return rank_over_datasets(dataset_means(cells)).significant

    def partitions_as_blocks(board) -> bool:
        return rank_over_datasets(pd.DataFrame(board.mean(axis=2).reshape(-1, entries))).significant

    def seeds_as_blocks(board) -> bool:
        return rank_over_datasets(pd.DataFrame(board.reshape(-1, entries))).significant

    def check(claims: Callable) -> None:
        assert sum(map(claims, boards)) <= _most(len(boards))

    _holds(check, ours=ours, faulty=partitions_as_blocks)
    _holds(check, ours=ours, faulty=seeds_as_blocks)
