import numpy as np
import pytest
import torch

from fedbench_core.federation import scoring
from fedbench_core.federation.lending import Lender
from fedbench_core.federation.partition import deal
from fedbench_core.federation.resolved import resolve
from fedbench_core.federation.scoring import Scorer
from fedbench_core.runner import How, load


@pytest.fixture
def scene(spec):
    """A scorer, what it scores on, and a network that is not as it started."""
    setting = resolve(spec("local"))
    shares = deal(setting, load(setting, How()))
    net = Lender(setting.architectures, shares.splits, 0, "cpu").build("tiny")
    for _ in range(5):
        net(shares.splits.train.tensors()[0])  # moves the running statistics
    return Scorer("cpu", shares), shares, net


def test_a_predictor_is_scored_in_evaluation_mode_on_the_whole_split(scene) -> None:
    scorer, shares, net = scene
    before = {name: value.clone() for name, value in net.state_dict().items()}
    score = scorer.score(net.train(), "test", 1)
    images, labels = shares.splits.test.tensors()
    with torch.no_grad():
        probabilities = net.eval()(images).softmax(dim=1)
    right = probabilities.argmax(dim=1) == labels
    assert score.scores["accuracy"] == pytest.approx(right.double().mean().item())
    assert np.unpackbits(score.correct, count=len(labels)).tolist() == right.int().tolist()
    torch.testing.assert_close(torch.from_numpy(score.own), probabilities[shares.indices["test"][1]])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_batches_change_nothing(scene, monkeypatch) -> None:
    scorer, shares, net = scene
    whole = scorer.score(net, "test", 0).own
    monkeypatch.setattr(scoring, "_BATCH_BYTES", 4 * 8 * 8 * 3 * 4)
    torch.testing.assert_close(
        torch.from_numpy(Scorer("cpu", shares).score(net, "test", 0).own), torch.from_numpy(whole)
    )


def test_equal_predictors_share_a_digest_and_run_once(scene) -> None:
    scorer, _, net = scene
    runs = []
    net.register_forward_hook(lambda *_: runs.append(1))
    first = scorer.score(net, "test", 0)
    assert scorer.score(net, "test", 2).digest == first.digest
    assert len(runs) == 1
    scorer.score(net, "val", 0)
    with torch.no_grad():
        net.norm.running_mean.add_(1e-3)
    assert scorer.score(net, "test", 0).digest != first.digest
    assert len(runs) == 3
