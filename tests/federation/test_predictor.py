import pytest
import torch

from fedbench_core.federation import predictor
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.networks import Networks
from fedbench_core.federation.predictor import Predictor
from fedbench_core.runner import How, load


@pytest.fixture
def scene(spec):
    """A predictor, what it predicts, and a network that is not as it started."""
    setting = resolve(spec("local"))
    splits = load(setting, How())
    net = Networks(setting.architectures, {}, splits, 0, "cpu").backbone("tiny")
    for _ in range(5):
        net(splits.train.tensors()[0])  # moves the running statistics
    return Predictor("cpu", splits), splits, net


def test_a_model_predicts_the_whole_split_in_evaluation_mode(scene) -> None:
    own, splits, net = scene
    before = {name: value.clone() for name, value in net.state_dict().items()}
    got = own.predict(net.train(), "test").probabilities
    with torch.no_grad():
        probabilities = net.eval()(splits.test.tensors()[0]).softmax(dim=1)
    torch.testing.assert_close(torch.from_numpy(got), probabilities)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_batches_change_nothing(scene, monkeypatch) -> None:
    own, splits, net = scene
    whole = own.predict(net, "test").probabilities
    monkeypatch.setattr(predictor, "_BATCH_BYTES", 4 * 8 * 8 * 3 * 4)
    torch.testing.assert_close(Predictor("cpu", splits).predict(net, "test").probabilities, whole)


def test_equal_models_share_a_digest_and_run_once(scene) -> None:
    own, _, net = scene
    runs = []
    net.register_forward_hook(lambda *_: runs.append(1))
    first = own.predict(net, "test")
    assert own.predict(net, "test").digest == first.digest
    assert len(runs) == 1
    own.predict(net, "val")
    with torch.no_grad():
        net.norm.running_mean.add_(1e-3)
    assert own.predict(net, "test").digest != first.digest
    assert len(runs) == 3
