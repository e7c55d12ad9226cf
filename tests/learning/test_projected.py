import torch
from torch import nn

from fedbench_core.learning import Projected
from fedbench_core.testing.toys import ToyBuilder, toy_client


def test_output_layer_reads_the_projected_embedding() -> None:
    net, images = ToyBuilder().backbone("toy8").eval(), toy_client(0).train.tensors()[0]
    model = Projected(net, nn.Linear(8, 2, bias=False), nn.Linear(2, 3))
    projection, output = model.projection.weight, model.output
    embedding = net.outputs(images).embedding
    expected = torch.stack([embedding @ row for row in projection], dim=1) @ output.weight.T + output.bias
    torch.testing.assert_close(model(images), expected)


def test_head_that_nothing_reads_is_not_among_the_tensors_that_are_used() -> None:
    net = ToyBuilder().backbone("toy8")
    replaced = Projected(net, nn.Linear(8, 2), nn.Linear(2, 3)).used()
    assert not [name for name in replaced if name.startswith("net.head")]
    kept = Projected(net, nn.Identity(), net.head)
    assert {name.removeprefix("net.") for name in kept.used()} == set(net.state_dict())
    images = toy_client(0).train.tensors()[0]
    assert torch.equal(kept(images), net(images))
