"""A backbone whose head is replaced by a projection and an output layer."""

from torch import Tensor, nn

from fedbench_core.api import Backbone, Outputs


class Projected(nn.Module):
    """A network, a projection of its embedding to a representation, and an output layer on that.

    To keep the network's own head, pass `nn.Identity()` and `net.head`.
    """

    def __init__(self, net: Backbone, projection: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.net, self.projection, self.output = net, projection, output

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b, classes)."""
        logits: Tensor = self.output(self.represent(self.net.outputs(images)))
        return logits

    def represent(self, outputs: Outputs) -> Tensor:
        """Representations (b, size) of images for which the network gave these outputs."""
        representations: Tensor = self.projection(outputs.embedding)
        return representations

    def used(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, without the network's own head where it is not the output layer."""
        used, head = set(self.output.parameters()), set(self.net.head.parameters())
        parameters = {name: one.detach() for name, one in self.named_parameters() if one in used or one not in head}
        return {**parameters, **dict(self.named_buffers())}
