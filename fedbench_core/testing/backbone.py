"""The contract of backbones."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fedbench_core.api import Architecture, Backbone, Outputs, Payload, RequestError
from fedbench_core.federation.generators import own_generator
from fedbench_core.federation.networks import load, snapshot
from fedbench_core.models import TimmArchitecture, knows
from fedbench_core.registry import registry
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched, same

SIZES = (28, 64, 224)
"""Pixels per side, tried in this order."""
CHANNELS, CLASSES, BATCH = 3, 5, 6
STEPS = 10
Build = Callable[..., Backbone]

each_shape = pytest.mark.parametrize(
    ("channels", "outputs"), [(1, 2), (3, 8), (28, 5)], ids=["gray", "color", "volume"]
)


class BackboneContract(PartContract[Architecture]):
    """A network with seeded initial weights whose outputs have the right shapes, and that learns.

    name: of a plugin's backbone, or of any of timm's; options: as given to `--set backbone.`.
    """

    kind = "backbone"

    def make(self) -> Architecture:
        """A new architecture, by its registered name or from timm."""
        if not self.name or self.kind in registry().kinds(self.name):
            return super().make()
        architecture: Architecture = TimmArchitecture(self.name, **dict(self.options))  # type: ignore[arg-type]  # as given
        return architecture

    @pytest.fixture
    def size(self, part: Architecture) -> int:
        """The smallest of SIZES that this architecture takes."""
        refusals = []
        for size in SIZES:
            try:
                _build(part, size)
            except RequestError as error:
                refusals.append(str(error))
            else:
                return size
        pytest.fail(f"it takes images of none of the sizes {SIZES}: {refusals[-1]}")

    @pytest.fixture
    def build(self, part: Architecture, size: int) -> Build:
        """Build the network: `build(seed=3)`."""
        return lambda seed=0: _build(part, size, seed=seed)

    def test_name_is_its_own(self, part: Architecture) -> None:
        """It has a name, and not that of another backbone of timm's."""
        assert isinstance(part.name, str), f"its name is {part.name!r}; expected a string"
        assert part.name, "it has no name: records need one"
        ours = self.kind in registry().kinds(self.name)
        assert not (ours and knows(self.name)), f"timm has a backbone {self.name!r} too: choose another name"

    @pytest.fixture
    def trace(self, build: Build) -> Trace:
        """The initial weights."""
        return lambda: _bytes(build())

    @each_shape
    def test_outputs_have_their_shapes(self, part: Architecture, size: int, channels: int, outputs: int) -> None:
        """Logits (b, outputs), embeddings (b, embedding_size), and at least one map (b, c, h, w); all finite."""
        net = _build(part, size, channels, outputs).eval()
        given = net.outputs(_images(size, channels))
        assert isinstance(given, Outputs), f"outputs returned {type(given).__name__}; expected Outputs"
        _expect("logits", given.logits, (BATCH, outputs))
        _expect("embedding", given.embedding, (BATCH, net.embedding_size))
        assert given.maps, "no maps: return one per stage end, the last is the feature map"
        for number, map_ in enumerate(given.maps):
            assert map_.dim() == len("bchw"), f"map {number} is {tuple(map_.shape)}; expected (b, c, h, w)"
            assert len(map_) == BATCH, f"map {number} is of {len(map_)} images; expected {BATCH}"
            assert bool(map_.isfinite().all()), f"map {number} holds NaN or infinity"

    def test_a_plain_call_gives_the_logits(self, build: Build, size: int) -> None:
        """Calling the network returns the logits of `outputs`, to the bit."""
        net, images = build().eval(), _images(size)
        assert torch.equal(net(images), net.outputs(images).logits), (
            "a plain call gives other logits than `outputs`: return self.outputs(images).logits from forward"
        )

    def test_same_stream_same_weights(self, build: Build) -> None:
        """Weights depend on torch's global generator, which is seeded for them, and on nothing else."""
        first = _bytes(build())
        with global_state_untouched(f"{self.name}.build"):
            again = _bytes(build())
        assert same(first, again), "other weights from the same seed: draw from torch's global generator alone"
        assert not same(first, _bytes(build(seed=1))), (
            "the same weights from another seed: draw from torch's global generator, and don't seed it"
        )

    def test_two_networks_share_nothing(self, build: Build) -> None:
        """Two networks have separate weights."""
        first, second = build(), build(seed=1)
        ours = {value.data_ptr(): name for name, value in first.state_dict().items() if value.numel()}
        shared = [name for name, value in second.state_dict().items() if value.numel() and value.data_ptr() in ours]
        assert not shared, f"two networks share {', '.join(shared)}: make all layers anew in every build"

    def test_predicting_repeats_itself(self, build: Build, size: int) -> None:
        """In evaluation mode the logits of an image depend on that image only, and the images are not changed."""
        net, images = build().eval(), _images(size)
        before = images.clone()
        with torch.no_grad():
            first, again, alone = net(images), net(images), torch.cat([net(image[None]) for image in images])
        assert torch.equal(images, before), "the images were changed: work on a clone"
        assert torch.equal(first, again), "other logits the second time: draw nothing in evaluation mode"
        assert torch.allclose(first, alone, rtol=1e-3, atol=1e-4), (
            "an image has other logits when it comes alone: in evaluation mode logits must not depend on the batch"
        )

    def test_learns(self, build: Build, size: int) -> None:
        """A few steps lower the loss, and gradients reach most of the parameters."""
        net = build().train()
        losses = _trained(net, size)
        stuck = {name: weights.numel() for name, weights in net.named_parameters() if weights.grad is None}
        total = sum(weights.numel() for weights in net.parameters())
        assert 2 * sum(stuck.values()) < total, f"no gradient reaches {', '.join(stuck)}: something detaches it"
        assert losses[-1] < losses[0], f"the loss went from {losses[0]:.3f} to {losses[-1]:.3f} in {STEPS} steps"

    def test_its_state_is_all_there_is(self, build: Build, size: int) -> None:
        """A used network that loads other weights predicts as a new one: networks are reused."""
        used, fresh, images = build(seed=1), build(seed=2), _images(size)
        _trained(used, size)
        start = snapshot(build())
        for net in (used, fresh):
            load(net, start)
        with torch.no_grad():
            assert torch.equal(used.eval()(images), fresh.eval()(images)), (
                "with the same weights a used network predicts differently from a new one: keep everything in "
                "parameters and registered buffers"
            )

    def test_head_maps_embeddings_to_logits(self, build: Build, size: int) -> None:
        """`head` is the layer of the network that maps embeddings to logits."""
        net = build().eval()
        head = getattr(net, "head", None)
        assert isinstance(head, nn.Module), f"its head is a {type(head).__name__}; expected the network's last layer"
        assert any(head is module for module in net.modules()), "its head is not a layer of the network"
        with torch.no_grad():
            given = net.outputs(_images(size))
            logits = head(given.embedding)
        assert torch.allclose(logits, given.logits, rtol=1e-4, atol=1e-5), (
            "the head has other logits for the embedding than `outputs`: the embedding is what the head is given"
        )

    def test_can_be_sent(self, build: Build) -> None:
        """Its parameters and buffers fit into a payload and can be loaded again."""
        net = build()
        Payload.from_bytes(Payload.of(net).to_bytes()).load_into(net)


def _build(part: Architecture, size: int, channels: int = CHANNELS, outputs: int = CLASSES, seed: int = 0) -> Backbone:
    with torch.random.fork_rng(devices=[]):  # of torch alone, so that another generator is noticed
        torch.default_generator.manual_seed(seed)
        net = part.build(outputs, channels, size)
    assert isinstance(net, Backbone), f"build returned {type(net).__name__}; expected a Backbone"
    return net


def _images(size: int, channels: int = CHANNELS) -> Tensor:
    return torch.rand(BATCH, channels, size, size, generator=torch.Generator().manual_seed(5)) * 2 - 1


def _trained(net: Backbone, size: int) -> list[float]:
    """The loss of each of a few steps on the same few images."""
    weights = [parameter for parameter in net.parameters() if parameter.requires_grad]
    assert weights, "no parameter requires a gradient: nothing can be trained"
    step, losses = torch.optim.Adam(weights, lr=1e-3), []
    images, labels = _images(size), torch.arange(BATCH) % CLASSES
    with own_generator(0, "cpu"):
        for _ in range(STEPS):
            loss = torch.nn.functional.cross_entropy(net(images), labels)
            assert loss.requires_grad, "no gradient reaches the weights: forward detaches its logits"
            step.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's gap
            step.step()
            losses.append(float(loss.detach()))
    return losses


def _expect(what: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    assert tuple(tensor.shape) == shape, f"{what} are {tuple(tensor.shape)}; expected {shape}"
    assert tensor.dtype == torch.float32, f"{what} are {tensor.dtype}; expected float32"
    assert bool(tensor.isfinite().all()), f"{what} hold NaN or infinity"


def _bytes(net: Backbone) -> bytes:
    return Payload.of(net).to_bytes()
