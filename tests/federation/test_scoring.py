import numpy as np
import pytest
import torch

from fedbench_core.federation import scoring
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.networks import Networks
from fedbench_core.federation.scoring import Scorer
from fedbench_core.runner import How, load


@pytest.fixture
def scene(spec):
    """A scorer, what it scores on, and a network that is not as it started."""
    setting = resolve(spec("local"))
    splits = load(setting, How())
    net = Networks(setting.architectures, {}, splits, 0, "cpu").backbone("tiny")
    for _ in range(5):
        net(splits.train.tensors()[0])  # moves the running statistics
    return Scorer("cpu", splits), splits, net


def test_a_predictor_is_scored_in_evaluation_mode_on_the_whole_split(scene) -> None:
    scorer, splits, net = scene
    before = {name: value.clone() for name, value in net.state_dict().items()}
    got, score = scorer.score(net.train(), "test")
    images, labels = splits.test.tensors()
    with torch.no_grad():
        probabilities = net.eval()(images).softmax(dim=1)
    right = probabilities.argmax(dim=1) == labels
    assert score.scores["accuracy"] == pytest.approx(right.double().mean().item())
    assert np.unpackbits(score.correct, count=len(labels)).tolist() == right.int().tolist()
    torch.testing.assert_close(got, probabilities)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_batches_change_nothing(scene, monkeypatch) -> None:
    scorer, splits, net = scene
    whole, _ = scorer.score(net, "test")
    monkeypatch.setattr(scoring, "_BATCH_BYTES", 4 * 8 * 8 * 3 * 4)
    torch.testing.assert_close(Scorer("cpu", splits).score(net, "test")[0], whole)


def test_equal_predictors_share_a_digest_and_run_once(scene) -> None:
    scorer, _, net = scene
    runs = []
    net.register_forward_hook(lambda *_: runs.append(1))
    _, first = scorer.score(net, "test")
    assert scorer.score(net, "test")[1].digest == first.digest
    assert len(runs) == 1
    scorer.score(net, "val")
    with torch.no_grad():
        net.norm.running_mean.add_(1e-3)
    assert scorer.score(net, "test")[1].digest != first.digest
    assert len(runs) == 3
