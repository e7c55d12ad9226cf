import re

import pytest
import torch
from torch import Tensor

from fedbench_core.api import Message, Payload, RunError
from fedbench_core.learning import Agreement


def _message(sender: int, meta: dict[str, str] | None = None, **tensors: Tensor) -> Message:
    return Message(sender, Payload(tensors, meta or {}), 1.0)


def _shown(*messages: Message) -> Agreement:
    agreement = Agreement()
    for message in messages:
        agreement.add(message)
    return agreement


def test_it_knows_who_wrote_what_kind_of_tensors() -> None:
    agreement = _shown(
        _message(3, w=torch.zeros(2, 3), n=torch.tensor(1)), _message(8, w=torch.ones(2, 3), n=torch.tensor(2))
    )
    assert agreement.senders == [3, 8]
    assert agreement.layout == {"w": (torch.float32, torch.Size([2, 3])), "n": (torch.int64, torch.Size([]))}


def test_metadata_that_all_share() -> None:
    assert _shown().meta == {}
    both, one = {"backbone": "x", "owner": "1"}, {"backbone": "x"}
    assert _shown(_message(0, both)).meta == both
    assert _shown(_message(0, both), _message(1, one)).meta == one
    assert _shown(_message(0, one), _message(1, both)).meta == one
    assert _shown(_message(0, both), _message(1)).meta == {}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({}, "'w' is float32 (2,) from client 3 and missing from client 8"),
        ({"w": torch.zeros(2), "v": torch.zeros(1)}, "'v' is missing from client 3 and float32 (1,) from client 8"),
        ({"w": torch.zeros(3)}, "'w' is float32 (2,) from client 3 and float32 (3,) from client 8"),
        ({"w": torch.zeros(2).half()}, "'w' is float32 (2,) from client 3 and float16 (2,) from client 8"),
    ],
)
def test_tensors_that_differ_name_both_senders(other, told) -> None:
    with pytest.raises(RunError, match=re.escape(told)):
        _shown(_message(3, w=torch.zeros(2)), _message(5, w=torch.ones(2)), _message(8, **other))


def test_metadata_that_differ_name_both_senders() -> None:
    with pytest.raises(RunError, match=r"Clients 5 and 8 .*'owner': '1' and '2'"):
        _shown(_message(3), _message(5, {"owner": "1"}), _message(8, {"owner": "2"}))


def test_a_message_that_is_refused_is_not_counted() -> None:
    agreement = _shown(_message(3, w=torch.zeros(2)))
    with pytest.raises(RunError):
        agreement.add(_message(8, w=torch.zeros(3)))
    assert agreement.senders == [3]
