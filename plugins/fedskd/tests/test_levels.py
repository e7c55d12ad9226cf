"""Which maps are compared where networks end in maps of fewer than 4 x 4 locations."""

import torch

from fedbench_fedskd import FedSKD

DEEP = [torch.zeros(4, 2, side, side) for side in (16, 8, 4, 1)]
FLAT = [torch.zeros(4, 3, side, side) for side in (8, 5, 2)]


def sides(update):
    return [(ours.shape[-1], theirs.shape[-1]) for ours, theirs in update.pairs(DEEP, FLAT)]


def test_last_layer_is_the_deepest_map_with_locations_on_both_sides():
    assert sides(FedSKD()) == [(4, 5)]


def test_stages_end_with_the_last_layer():
    assert sides(FedSKD(layers="stages")) == [(8, 8), (4, 5)]  # 3 against 2: the 1st with round(1.5)
