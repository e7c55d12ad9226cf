# (a faulty part has the signature of a sound one)
import numpy as np
import pytest
import torch

from fedbench_core.api import Aggregator, Letter, Merge, Payload, RunError
from fedbench_core.parts.aggregators import Mean
from fedbench_core.testing import AggregatorContract


class Fold(Aggregator, Merge):
    """An aggregator that keeps the last letter, in itself: wrong in most ways there are."""

    letter: Letter

    def open(self, ctx, memory, standing):
        return self

    def add(self, letter) -> None:
        self.letter = letter

    def close(self):
        return self.letter.payload


class Hoards(Mean):
    """Keeps all letters until the end."""

    def open(self, ctx, memory, standing):
        merge = super().open(ctx, memory, standing)

        class All(Fold):
            def __init__(self) -> None:
                self.letters = []

            def add(self, letter) -> None:
                self.letters.append(letter)

            def close(self):
                for letter in self.letters:
                    merge.add(letter)
                return merge.close()

        return All()


class Single(Fold):
    """A weighted mean in single precision that knows no error."""

    def open(self, ctx, memory, standing):
        fold = Single()
        fold.total = 0.0
        return fold

    def add(self, letter) -> None:
        self.sums = {
            name: letter.weight * tensor + (self.sums[name] if self.total else 0)
            for name, tensor in letter.payload.tensors.items()
        }
        self.total += letter.weight
        self.letter = letter

    def close(self):
        of = self.letter.payload.tensors
        return Payload(
            {name: (sum_ / self.total).to(of[name].dtype) for name, sum_ in self.sums.items()}, self.letter.payload.meta
        )


class Sum(Single):
    def open(self, ctx, memory, standing):
        fold = Sum()
        fold.total = 0.0
        return fold

    def close(self):
        return Payload(self.sums, self.letter.payload.meta)


class NoMeta(Mean):
    def open(self, ctx, memory, standing):
        merge = super().open(ctx, memory, standing)

        class Without(Fold):
            def add(self, letter) -> None:
                merge.add(letter)

            def close(self):
                return Payload(merge.close().tensors)

        return Without()


class WritesToLetters(Fold):
    def add(self, letter) -> None:
        letter.payload.tensors["fc.bias"].mul_(2)
        self.letter = letter


class NamesOne(Fold):
    takes = "one"
    count = 0

    def add(self, letter) -> None:
        self.count += 1
        if self.count > 1:
            raise RunError(f"two letters; the second is from client {letter.sender}")


class PartCounts(Fold):
    count = 0

    def add(self, letter) -> None:
        self.count += 1
        self.letter = Letter(0, Payload({"count": torch.tensor(self.count)}), 1.0)


class KeepsBytes(Fold):
    def open(self, ctx, memory, standing):
        memory["state"] = b"3"
        return Fold()


class DrawsNumpy(Fold):
    def add(self, letter) -> None:
        np.random.random()  # noqa: NPY002  # this is the fault
        self.letter = letter


@pytest.mark.parametrize(
    ("faulty", "case", "arguments", "says"),
    [
        (PartCounts, "test_same_letters_same_bits", [], "gave other bits"),
        (Fold, "test_order_hardly_matters", [], "in another order"),
        (Sum, "test_scale_of_weights_is_irrelevant", [0.5], "0.5 times as large"),
        (Single, "test_equal_payloads_give_that_payload", [], "equal payloads gave another one"),
        (NoMeta, "test_equal_payloads_give_that_payload", [], "keep what all share"),
        (Fold, "test_mismatched_names_name_both_senders", [], "DID NOT RAISE"),
        (Fold, "test_differing_metadata_names_both_senders", [], "DID NOT RAISE"),
        (Hoards, "test_holds_one_letter_at_a_time", [], "after 5 letters 5 are still in memory"),
        (NamesOne, "test_second_letter_is_refused", [], "does not name client 11"),
        (WritesToLetters, "test_letters_are_untouched", [], "letter was changed"),
        (KeepsBytes, "test_memory_survives_the_disk", [], "is of type bytes"),
        (PartCounts, "test_memory_survives_the_disk", [], "other bits in round 0"),
        (PartCounts, "test_state_is_only_in_memory", [], "a merge at another place changed this one"),
        (DrawsNumpy, "test_global_randomness_is_untouched", [], "global generator of numpy.random"),
    ],
)
def test_aggregator_faults(assert_caught, faulty, case, arguments, says) -> None:
    assert_caught(AggregatorContract, faulty, case, *arguments, says=says)
