"""FedKD on transformers: attention maps are those that the network used, and each loss trains its own network."""

from dataclasses import replace

import pytest
import torch

from fedbench_core.api import Training
from fedbench_core.learning import ForwardPass
from fedbench_core.models import TimmArchitecture
from fedbench_core.testing.toys import ToyBuilder, toy_client, toy_moment
from fedbench_fedkd import FedKD
from fedbench_fedkd.attention import attention_maps, blocks, distance


def transformer(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TimmArchitecture("test_vit").build(3, 1, 28)


class Transformers(ToyBuilder):
    """A builder whose `toy8` is a convolutional network, and any other name a transformer."""

    def backbone(self, name, role=""):
        return super().backbone(name, role) if name == "toy8" else transformer(len(role))


def _moment(**training):
    ctx = toy_moment(training=Training(**{"steps": 1, "batch_size": 4, "lr": 0.1, "momentum": 0.0, **training}))
    return replace(ctx, builder=Transformers())


def _client(backbone="vit"):
    client = toy_client(backbone=backbone, images=4)
    images = client.train.images.repeat(4, axis=1).repeat(4, axis=2)[:, :28, :28]
    client.train = replace(client.train, images=images)
    return client


def test_distance_by_hand() -> None:
    first = [torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]), torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])]
    second = [torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])]
    # one layer is compared with the last of two: (1 + 1 + 0 + 0) / 4
    assert distance(first, second).item() == 0.5
    # both layers: (1 + 1 + 1/4 + 1/4) / 4 and 0
    assert distance(first, [second[0], first[1]]).item() == pytest.approx(0.625 / 2)
    assert distance(first, []) is None


def test_maps_of_more_tokens_are_pooled() -> None:
    fine, coarse = torch.zeros(1, 4, 4), torch.zeros(1, 2, 2)
    fine[:, :2, :2] = 1
    coarse[:, 0, 0] = 1
    assert distance([fine], [coarse]).item() == 0


def test_maps_are_the_attention_of_every_block() -> None:
    net, images = transformer().eval(), torch.rand(2, 1, 28, 28)
    plain = net(images)
    with attention_maps(net) as maps:
        inside = net(images)
        net(images)  # a second pass replaces the first
        assert len(maps) == len(blocks(net)) == 6
        for one in maps:
            torch.testing.assert_close(one.sum(dim=2), torch.ones(one.shape[:2]))
        block = net.net.blocks[0]
        tokens = block.norm1(net.net._pos_embed(net.net.patch_embed(images)))
        shape = (2, -1, 3, block.attn.num_heads, block.attn.head_dim)
        queries, keys, _ = block.attn.qkv(tokens).reshape(shape).permute(2, 0, 3, 1, 4)
        by_hand = (queries @ keys.mT * block.attn.head_dim**-0.5).softmax(dim=-1).mean(dim=1)
        torch.testing.assert_close(maps[0], by_hand)
    torch.testing.assert_close(inside, plain)
    assert torch.equal(net(images), plain)  # the fused kernel is back


def test_term_is_divided_as_the_others() -> None:
    task, outputs = toy_moment().task, toy_moment().build("toy8").outputs(torch.rand(4, 1, 8, 8))
    own, other = (ForwardPass(outputs, torch.tensor(loss)) for loss in (1.5, 0.5))
    terms = FedKD(mutual=False).terms(task, own, other, torch.tensor(3.0), torch.tensor(4.0))
    assert {name: value.item() for name, value in terms.items()} == {"hidden": 1.5, "attention": 2.0}


@pytest.mark.parametrize(("backbones", "aligned"), [(("vit", "vit"), True), (("toy8", "toy8"), False)])
def test_attention_is_aligned_where_both_networks_have_it(backbones, aligned) -> None:
    teacher, student = backbones
    part, client, ctx = FedKD(student=student), _client(teacher), _moment()
    part.setup(client, ctx)
    metrics = part.train(client, None, ctx).metrics
    assert ("teacher_attention" in metrics) == ("student_attention" in metrics) == aligned
    assert part.check(client, ctx) == []
    assert "teacher_attention" not in FedKD(student=student, attention=False).train(client, None, ctx).metrics


def test_a_single_transformer_is_noted() -> None:
    [note] = FedKD(student="toy8").check(_client(), _moment())
    assert "only one has attention maps" in note


def test_student_has_a_learning_rate_of_its_own() -> None:
    """After one step of plain gradient descent the student has moved by a fifth, the teacher as before."""
    moved = {}
    for lr in (None, 0.02):
        part, client, ctx = FedKD(student="toy8", student_lr=lr), toy_client(backbone="toy8"), _moment()
        part.setup(client, ctx)
        before = client.models["teacher"].head.weight.detach().clone(), client.memory["hint"].clone()
        sent = part.train(client, None, ctx).payload.tensors["head.weight"]
        moved[lr] = sent, client.models["teacher"].head.weight.detach() - before[0], client.memory["hint"] - before[1]
    torch.testing.assert_close(moved[0.02][0], moved[None][0] / 5)
    torch.testing.assert_close(moved[0.02][1], moved[None][1])
    torch.testing.assert_close(moved[0.02][2], moved[None][2] / 5)


def test_student_learning_rate_follows_the_schedule() -> None:
    sent = []
    for lr, warmup in ((0.02, 0), (0.04, 1)):  # a warm-up of one round halves the first
        part, client = FedKD(student="toy8", student_lr=lr), toy_client(backbone="toy8")
        ctx = _moment(warmup=warmup)
        part.setup(client, ctx)
        sent.append(part.train(client, None, ctx).payload.tensors["head.weight"])
    torch.testing.assert_close(*sent)
