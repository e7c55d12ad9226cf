import pytest
import torch

from fedbench_core.api import Payload, RoundContext, RunError, Task, Training
from fedbench_core.federation.wire import check_finite, decode, encode
from fedbench_core.parts.compressors import Dense, Half

CTX = RoundContext(0, 3, 0, 0, Task("binary", ("a", "b")), Training())
PAYLOAD = Payload({"w": torch.tensor([0.1, 1 / 3, 2.0]), "n": torch.tensor(3)}, {"owner": "2"})


def test_dense_carries_the_payload_itself() -> None:
    sent = encode(Dense(), PAYLOAD, CTX, {})
    assert bytes(sent.blob) == bytes(PAYLOAD.to_bytes())
    assert sent.bytes_dense == len(sent.blob)
    back = decode(Dense(), sent.blob)
    assert torch.equal(back.tensors["w"], PAYLOAD.tensors["w"])
    assert dict(back.meta) == {"owner": "2"}


def test_what_is_decoded_is_what_was_rounded() -> None:
    sent = encode(Half(), PAYLOAD, CTX, {})
    back = decode(Half(), sent.blob)
    assert back.tensors["w"].tolist() == [0.0999755859375, 0.333251953125, 2.0]  # the nearest halves
    assert back.tensors["w"].dtype == torch.float32
    assert sent.bytes_dense == len(PAYLOAD.to_bytes())


def test_a_receiver_has_memory_of_its_own() -> None:
    blob = bytes(encode(Dense(), PAYLOAD, CTX, {}).blob)
    first, second = decode(Dense(), blob), decode(Dense(), blob)
    first.tensors["w"].add_(1)
    assert torch.equal(second.tensors["w"], PAYLOAD.tensors["w"])


@pytest.mark.parametrize(("bad", "word"), [(torch.nan, "NaN"), (torch.inf, "infinity"), (-torch.inf, "infinity")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_not_finite_is_named(bad, word, dtype) -> None:
    tensors = {"a": torch.zeros(3), "head.bias": torch.tensor([0, bad, 1], dtype=dtype), "n": torch.tensor(1)}
    with pytest.raises(RunError, match=f"tensor 'head.bias' of its update holds {word}"):
        check_finite(Payload(tensors), "its update")


def test_what_is_finite_passes() -> None:
    check_finite(Payload({"a": torch.tensor([1e38, -1e38]), "n": torch.tensor([2**60]), "empty": torch.zeros(0)}), "it")
