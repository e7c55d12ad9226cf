from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fedbench_core.api import Backbone, Client, Examples, Outputs, Payload, PayloadError, RunError, Training
from fedbench_core.learning import (
    ForwardPass,
    Side,
    adaptive_denominator,
    apply_delta,
    check_pair,
    delta,
    fit,
    fit_pair,
    hint,
    learnable,
    projection,
)
from fedbench_core.testing.examples import moment, normal

CTX = replace(moment(), training=Training(steps=3, batch_size=8, lr=0.1))


class Net(Backbone):
    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Conv2d(1, width, 3)
            self.norm = nn.BatchNorm2d(width)
            self.head = nn.Linear(width, 3)
        self.name, self.embedding_size = f"net{width}", width

    def outputs(self, images) -> Outputs:
        maps = self.norm(self.body(images)).relu()
        embedding = maps.mean(dim=(2, 3))
        return Outputs(self.head(embedding), embedding, (maps,))

    def forward(self, images):
        return self.outputs(images).logits


@pytest.fixture
def client() -> Client:
    images = np.random.default_rng(0).integers(0, 255, (20, 6, 6), dtype=np.uint8)
    examples = Examples(images, (np.arange(20) % 3)[:, None].astype(np.int64), np.arange(20), "none")
    return Client(0, "net4", examples, examples)


def pull(own: ForwardPass, other: ForwardPass) -> dict[str, torch.Tensor]:
    return {"mutual": CTX.task.divergence(other.outputs.logits, own.outputs.logits)}


def weights(net: nn.Module) -> bytes:
    return Payload.of(net).to_bytes()


def test_each_network_of_a_pair_is_clipped_by_its_own_norm(client) -> None:
    """One step without momentum moves a network by the rate times the largest norm."""
    nets = [Net(4, 0), Net(5, 1)]
    before = [[parameter.detach().clone() for parameter in net.parameters()] for net in nets]
    ctx = replace(CTX, training=Training(steps=1, lr=0.1, momentum=0.0, clip=0.01))
    fit_pair(Side("a", nets[0], pull), Side("b", nets[1], pull), client.train, ctx)
    for net, old in zip(nets, before, strict=True):
        squares = [(new - then).square().sum() for new, then in zip(net.parameters(), old, strict=True)]
        assert float(torch.stack(squares).sum().sqrt().detach()) == pytest.approx(0.1 * 0.01, rel=1e-3)


@pytest.mark.parametrize("recipe", [{"augmentation": "medical"}, {"precision": "bf16"}], ids=str)
def test_both_networks_of_a_pair_train_under_the_recipe_and_on_the_same_images(client, recipe) -> None:
    seen: dict[int, list[torch.Tensor]] = {4: [], 5: []}
    nets = [Net(4, 0), Net(5, 1)]
    for net in nets:
        net.body.register_forward_hook(lambda _body, args, output: seen[len(output[0])].append((args[0], output.dtype)))
    ctx = replace(CTX, training=Training(steps=2, **recipe))
    fit_pair(Side("a", nets[0], pull), Side("b", nets[1], pull), client.train, ctx)
    assert all(torch.equal(one[0], other[0]) for one, other in zip(*seen.values(), strict=True))
    assert {dtype for passes in seen.values() for _, dtype in passes} == {
        torch.bfloat16 if "precision" in recipe else torch.float32
    }


def nothing(_own: ForwardPass, _other: ForwardPass) -> dict[str, torch.Tensor]:
    return {}


# the loop


def test_without_terms_each_network_learns_as_if_alone(client) -> None:
    pair, alone = (Net(4, 0).eval(), Net(6, 1).eval()), (Net(4, 0), Net(6, 1))
    told = fit_pair(Side("a", pair[0], nothing), Side("b", pair[1], nothing), client.train, CTX)
    losses = [fit(net, client.train, CTX)["loss"] for net in alone]
    assert [weights(net) for net in pair] == [weights(net) for net in alone]
    assert [told["a_task"], told["b_task"]] == losses
    assert told["loss"] == losses[0]
    assert told["steps"] == 3


@pytest.mark.parametrize("reaches", ["logits", "embedding", "maps", "loss"])
def test_a_loss_moves_its_own_network_alone(client, reaches) -> None:
    """The second's loss says nothing of itself, so whatever it says of the first must change nothing."""

    def meddle(_own: ForwardPass, other: ForwardPass) -> dict[str, torch.Tensor]:
        said = {"loss": other.loss, "maps": other.outputs.maps[0]}
        return {"meddling": (said[reaches] if reaches in said else getattr(other.outputs, reaches)).square().mean()}

    trained = {}
    for joint in (False, True):
        nets = Net(4, 0), Net(6, 1)
        fit_pair(Side("a", nets[0], nothing), Side("b", nets[1], meddle), client.train, CTX, joint=joint)
        trained[joint] = weights(nets[0])
    alone = Net(4, 0)
    fit(alone, client.train, CTX)
    assert trained[False] == weights(alone)
    assert trained[True] != weights(alone)


def test_both_networks_are_pulled_to_each_other(client) -> None:
    apart: dict[object, float] = {}
    for terms in (nothing, pull):
        nets = Net(4, 0), Net(6, 1)
        fit_pair(Side("a", nets[0], terms), Side("b", nets[1], terms), client.train, CTX)
        images, _ = client.train.tensors()
        apart[terms] = CTX.task.divergence(nets[0](images), nets[1](images)).item()
    assert apart[pull] < apart[nothing]


def test_matrices_learn_with_their_side_and_what_is_told_is_named_by_role(client) -> None:
    client.memory["w"] = projection(4, 6, CTX, "hint")
    before = client.memory["w"].clone()
    matrix = learnable(client, "w", CTX)

    def hinted(own: ForwardPass, other: ForwardPass) -> dict[str, torch.Tensor]:
        return {"hidden": hint(own.outputs.embedding, other.outputs.embedding, matrix)}

    told = fit_pair(
        Side("teacher", Net(4, 0), hinted, [matrix]), Side("student", Net(6, 1), nothing), client.train, CTX
    )
    assert not torch.equal(client.memory["w"], before)
    assert set(told) == {
        "loss", "steps", "teacher_task", "student_task", "teacher_hidden", "teacher_embedding", "student_embedding",
    }  # fmt: skip


def test_the_length_of_embeddings_is_told(client) -> None:
    nets = Net(4, 0), Net(6, 1)
    ctx = replace(CTX, training=Training(steps=1, batch_size=20))
    images, _ = client.train.tensors()
    expected = [net.train().outputs(images).embedding.norm(dim=1).mean().item() for net in nets]
    told = fit_pair(Side("a", nets[0], nothing), Side("b", nets[1], nothing), client.train, ctx)
    assert [told["a_embedding"], told["b_embedding"]] == pytest.approx(expected, rel=1e-5)


# the formulas


@pytest.mark.parametrize(("detach", "slope"), [(True, 0.0), (False, -3.0 / 2.5**2)])
def test_what_a_task_loss_does_to_a_distillation_loss(detach, slope) -> None:
    """3 / (1 + 1.5): the slope is that of a quotient, -3 / 2.5^2, or nothing where the denominator is a constant."""
    own = torch.tensor(1.0, requires_grad=True)
    quotient = 3.0 / adaptive_denominator(own, torch.tensor(1.5), detach=detach, floor=0.1)
    assert quotient.item() == pytest.approx(1.2)
    (quotient + 0 * own).backward()
    assert float(own.grad) == pytest.approx(slope)


@pytest.mark.parametrize("detach", [True, False])
def test_the_floor_holds(detach) -> None:
    own, other = torch.tensor(0.02, requires_grad=True), torch.tensor(0.03)
    assert adaptive_denominator(own, other, detach=detach, floor=0.1).item() == pytest.approx(0.1)
    assert adaptive_denominator(own, other, detach=detach, floor=0).item() == pytest.approx(0.05)
    assert (0 / adaptive_denominator(0 * own, 0 * other, detach=detach, floor=0)).item() == 0


def test_a_hint_is_the_mean_squared_difference_in_the_targets_space() -> None:
    target, source = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0, -1.0]])
    matrix = torch.tensor([[1.0, 5.0, 0.0], [0.0, 5.0, -1.0]])  # takes the source to (1, 1)
    assert float(hint(target, source, matrix)) == pytest.approx(0.5)


def test_projections_depend_on_the_seed_and_the_words_and_not_on_the_round() -> None:
    first = projection(5, 7, CTX, "hint")
    assert torch.equal(first, projection(5, 7, replace(CTX, round=3, phase=2), "hint"))
    assert not torch.equal(first, projection(5, 7, CTX, "other"))
    assert not torch.equal(first, projection(5, 7, replace(CTX, seed=1), "hint"))
    assert first.shape == (5, 7)
    assert float(first.abs().max()) <= 7**-0.5
    assert float(projection(100, 100, CTX, "hint").std()) == pytest.approx(0.1 / 3**0.5, rel=0.02)


def test_a_memory_that_holds_no_tensor_is_told(client) -> None:
    client.memory["w"] = "text"
    with pytest.raises(RunError, match="holds str as 'w'"):
        learnable(client, "w", CTX)


def test_a_student_larger_than_its_teacher_is_told_with_both_sizes(client) -> None:
    small, large = Net(4, 0), Net(6, 1)  # 40 + 8 + 15 parameters against 60 + 12 + 21
    assert check_pair(large, small, client) == []
    assert check_pair(small, small, client) == []
    (note,) = check_pair(small, large, client)
    assert "student net6 (93 parameters) is larger than the teacher net4 (63)" in note


# changes


def test_the_mean_of_changes_leads_to_the_mean_of_networks(client) -> None:
    start, trained = Net(4, 0), [Net(4, 0), Net(4, 0)]
    for steps, net in zip((2, 5), trained, strict=True):
        fit(net, client.train, replace(CTX, training=Training(steps=steps, batch_size=8)))
    changes = [delta(net, start).tensors for net in trained]
    merged = {
        name: (changes[0][name] + changes[1][name]) / 2
        if changes[0][name].is_floating_point()
        else torch.maximum(changes[0][name], changes[1][name])
        for name in changes[0]
    }
    apply_delta(Payload(merged), start)
    states = [net.state_dict() for net in trained]
    assert int(start.norm.num_batches_tracked) == 5
    for name in ("body.weight", "norm.running_var", "norm.running_mean", "head.bias"):
        torch.testing.assert_close(start.state_dict()[name], (states[0][name] + states[1][name]) / 2)


def test_a_change_that_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(PayloadError, match=r"body\.bias"):
        apply_delta(Payload({"body.weight": normal(4, 1, 3, 3)}), Net(4, 0))
