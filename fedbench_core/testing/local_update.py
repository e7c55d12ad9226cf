"""The contract of local updates."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import torch
from torch import Tensor, nn

from fedbench_core.api import Client, Dataset, LocalUpdate, Payload, Task, Update
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.predictor import digest
from fedbench_core.federation.worker import networks_of
from fedbench_core.registry import registry
from fedbench_core.testing import turn
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched, same
from fedbench_core.testing.examples import versions
from fedbench_core.testing.small import (
    BACKBONE,
    SETTINGS,
    SmallFederation,
    cache_of,
    partition_of,
    several_labels,
    small_spec,
    with_other_images,
)

ROUNDS = int(SETTINGS["rounds"])
STEPS = 1
Outcome = dict[str, object]
_FEDERATIONS: "WeakKeyDictionary[type, SmallFederation]" = WeakKeyDictionary()
"""By suite, because building networks takes longer than all else."""
_STRAIGHT: "WeakKeyDictionary[type, list[Outcome]]" = WeakKeyDictionary()
"""By suite, what several cases compare theirs with."""
_FULL_RECIPE = {
    "schedule": "cosine",
    "augmentation": "medical",
    "precision": "bf16",
    "clip": 1.0,
    "class_weights": "balanced",
    "label_smoothing": 0.1,
}


class LocalUpdateContract(PartContract[LocalUpdate]):
    """A turn is a pure function of what the client keeps, what it receives and the context.

    options: as given to `--set local_update.`; backbone: of its clients.
    """

    kind = "local_update"
    backbone = BACKBONE

    @pytest.fixture
    def small(self, part: LocalUpdate, tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
        """Clients that train with this part, in a small run of the first method that uses it."""
        if type(self) not in _FEDERATIONS:
            _FEDERATIONS[type(self)] = self._small(part, cache_of(tmp_path_factory))
        small = _FEDERATIONS[type(self)]
        small.networks.recall()
        return replace(small, part=part, run=replace(small.run, local_update=part))

    @pytest.fixture
    def straight(self, small: SmallFederation) -> list[Outcome]:
        """The turns of client 0 alone, as an instance of the part computed them that is used for nothing else."""
        if type(self) not in _STRAIGHT:
            _STRAIGHT[type(self)] = _turns(replace(small, part=self.make()))
            small.networks.recall()
        return _STRAIGHT[type(self)]

    @pytest.fixture
    def trace(self, small: SmallFederation) -> Trace:
        """A client's first two turns."""
        received = small.received()

        def turns() -> list[Outcome]:
            client = small.client()
            return [_turn(small, client, received, number) for number in range(2)]

        return turns

    def test_update_is_valid(self, small: SmallFederation) -> None:
        """An update has finite tensors and strings as payload, and numbers as num_examples and metrics."""
        client = small.client()
        _check_update(self.name, small.train(client))
        _check_update(self.name, small.train(client, small.received(), 1))

    @pytest.mark.parametrize("images", [1, 9])
    def test_survives_a_last_batch_of_one_image(self, small: SmallFederation, images: int) -> None:
        """A client trains with one image, or with one more than fills its batches."""
        training = replace(small.run.spec.training, epochs=1, steps=None, batch_size=8)
        _check_update(self.name, small.train(small.client(images=images), training=training))

    def test_trains_by_the_budget(self, small: SmallFederation) -> None:
        """A larger local budget means more forward passes, by which a method's FLOPs are counted."""
        counts = []
        for steps in (1, 3):
            client = small.client()
            small.networks.forwards()
            small.train(client, training=replace(small.run.spec.training, steps=steps))
            counts.append(sum(small.networks.forwards().values()))
        if counts == [0, 0]:
            pytest.skip("this update runs no network that ctx.build made, so it has no FLOPs to count")
        assert counts[0] < counts[1], (
            f"with a budget of 1 and of 3 steps {counts[0]} and {counts[1]} images went through its networks: train by "
            "ctx.training"
        )

    def test_follows_the_schedule(self, small: SmallFederation) -> None:
        """Twice the learning rate in a round whose schedule halves it gives the same bits."""
        training = small.run.spec.training
        doubled = replace(training, lr=2 * training.lr, warmup=1)
        plain, scheduled = (_turn(small, small.client(), None, 0, training=recipe) for recipe in (training, doubled))
        assert same(scheduled, plain), (
            "it trains with another learning rate than the round's: use ctx.lr, which follows the schedule, and not "
            "ctx.training.lr"
        )

    def test_trains_under_any_recipe(self, small: SmallFederation) -> None:
        """Augmentation, half precision, clipping, class weights and label smoothing together give a valid update."""
        client = small.client()
        for number, received in enumerate((None, small.received())):
            ctx = small.context().with_training(**_FULL_RECIPE)
            task = ctx.task.balanced(client.train.targets())
            _check_update(self.name, small.train(client, received, number, training=ctx.training, task=task))

    def test_sees_its_own_images_only(self, small: SmallFederation, straight: list[Outcome], tmp_path: Path) -> None:
        """Changing the images of other clients, or the test set, changes nothing."""
        other = replace(small, partition=with_other_images(small.partition, 0, tmp_path))
        received = small.received()
        with _no_loading(small.run.dataset):
            client = other.client()
            got = [_turn(other, client, received, number) for number in range(2)]
        assert same(got, straight[:2]), (
            "it trains differently when the images of other clients and of the test set change: use client.train (and "
            "client.val) by their tensors() and targets() alone"
        )

    def test_works_on_multi_label_tasks(self, small: SmallFederation) -> None:
        """An update that leaves loss and divergence to ctx.task works on every kind of label."""
        task = Task("multi-label", small.partition.splits.task.classes)
        client = small.client()
        client.train, client.val = (several_labels(examples, task) for examples in (client.train, client.val))
        _check_update(self.name, small.train(client, task=task))

    def test_metrics_are_the_same_each_turn(self, small: SmallFederation) -> None:
        """Every turn reports the same metrics, which are the columns of `clients.csv`."""
        client = small.client()
        without, with_ = (sorted(small.train(client, one, n).metrics) for n, one in enumerate((None, small.received())))
        assert without == with_, (
            f"a turn that receives nothing reports {without}, one that receives something {with_}: report all each time"
        )

    def test_received_payload_is_unchanged(self, small: SmallFederation) -> None:
        """Neither training nor predicting changes the received payload, which other clients share."""
        received = _something(small)
        before, old = bytes(received.to_bytes()), versions(received)
        client = small.client()
        small.train(client)
        for what, use in (("predictors", small.predictors), ("train", small.train)):
            use(client, received, 1)
            assert same(bytes(received.to_bytes()), before), (
                f"{what} changed the payload it received: load it into a model"
            )
            assert versions(received) == old, f"{what} wrote to the tensors it received in place: work on a clone"

    @pytest.mark.parametrize("trained", [False, True], ids=["untrained", "trained"])
    def test_predictors_change_nothing(self, small: SmallFederation, trained: bool) -> None:
        """Predicting any number of times leaves what the client keeps as it was."""
        client = small.client()
        if trained:
            small.train(client)
        for received in (None, small.received()):
            before = small.saved(client)
            first = _weights(small.predictors(client, received))
            assert same(small.saved(client), before), (
                "predictors changed the client's models or memory: copy before you change"
            )
            again = _weights(small.predictors(client, received))
            assert same(again, first), "predictors gave other models the second time: they depend on their inputs only"

    def test_predictors_classify(self, small: SmallFederation) -> None:
        """There is a headline model, the roles are always the same, and each model returns logits."""
        client = small.client()
        untrained = small.predictors(client)
        assert untrained, "predictors and global_predictors gave no model: return the one that the client would deploy"
        images = client.train.tensors()[0][:4]
        for role, net in untrained.items():
            assert isinstance(net, nn.Module), f"predictor {role!r} is of type {type(net).__name__}, not a module"
            logits = net.eval()(images)
            expected = (len(images), small.partition.splits.task.outputs)
            assert tuple(logits.shape) == expected, (
                f"predictor {role!r} gave {tuple(logits.shape)} for {len(images)} images; expected {expected}"
            )
            assert bool(logits.isfinite().all()), f"predictor {role!r} gave NaN or infinity"
        small.train(client)
        for received in (None, small.received()):
            roles = list(small.predictors(client, received))
            assert roles == list(untrained), f"roles {roles} after a turn, {list(untrained)} before: keep them the same"

    def test_equal_predictors_predict_the_same(self, small: SmallFederation) -> None:
        """Predictors of one class, name and `state_dict`, which are scored once, return the same logits."""
        images = small.client().train.tensors()[0][:4]
        known: dict[str, tuple[str, Tensor]] = {}
        for number in (0, 1):
            client = small.client(number)
            small.train(client)
            for role, net in small.predictors(client, small.received(), 1).items():
                who = f"{role!r} of client {number}"
                with torch.no_grad():
                    logits = net.eval()(images)
                other, expected = known.setdefault(digest(net), (who, logits))
                assert torch.allclose(logits, expected), (
                    f"{who} and {other} have one class, name and state_dict, and predict differently: what decides "
                    "belongs in parameters or registered buffers, or one would get the scores of the other"
                )

    def test_received_payload_is_used(self, small: SmallFederation) -> None:
        """A client that receives something trains, keeps, sends or predicts something else than one that doesn't."""
        received, client = _something(small), small.client()
        small.train(client)
        state = small.saved(client)
        with_it, without = (_following(small, state, one) for one in (received, None))
        assert not same(with_it, without), (
            "a client that receives what others sent does the same as one that receives nothing: load it, or learn "
            "from it"
        )

    def test_check_returns_notes(self, small: SmallFederation) -> None:
        """The notes for the record are sentences."""
        notes = small.part.check(small.client(), small.context())
        assert all(isinstance(note, str) for note in notes), f"check returned {notes}; expected strings"

    def test_global_state_is_untouched(self, small: SmallFederation) -> None:
        """No global generator is read or seeded (dropout may, which this backbone does not have)."""
        received = small.received()
        with global_state_untouched(f"{self.name}'s setup, train or predictors"):
            client = small.client()
            small.train(client)
            small.train(client, received, 1)
            small.predictors(client, received, 1)

    def test_same_turn_same_bits(self, small: SmallFederation, straight: list[Outcome]) -> None:
        """Equal clients, payloads and contexts give equal updates and states, from any instance of the part."""
        for _ in range(2):  # the second time from an instance that was used
            assert same(_turns(small), straight), (
                "the same turns gave other bits: draw from ctx.rng(...) and ctx.generator(...), and "
                "keep nothing in the part"
            )

    def test_state_is_only_in_the_client(self, small: SmallFederation, straight: list[Outcome]) -> None:
        """Turns of another client in between change nothing."""
        other, client, received = small.client(1), small.client(), small.received()
        for number in range(ROUNDS):
            small.train(other, received if number else None, number)
            got = _turn(small, client, received, number)
            assert same(got, straight[number]), (
                f"round {number} of client 0 has other bits when client 1 trains before it: keep state in "
                "client.models, client.modules and client.memory"
            )

    def test_state_survives_saving(
        self, small: SmallFederation, straight: list[Outcome], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """A client that is saved and loaded after every turn, with new networks, goes on with the same bits."""
        received = small.received()
        state = small.saved(small.client())
        fresh = self._small(self.make(), cache_of(tmp_path_factory))
        for number in range(ROUNDS):
            client = fresh.loaded(0, state)
            got = _turn(fresh, client, received, number)
            assert same(got, straight[number]), (
                f"other bits in round {number} after the client was saved and loaded: keep all state in its models, "
                "modules and memory"
            )
            state = fresh.saved(client)
            fresh = replace(fresh, networks=networks_of(fresh.run, fresh.partition))

    @pytest.mark.slow
    def test_goes_on_in_a_new_process(self, small: SmallFederation, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A client that was saved goes on in a new process with the same bits."""
        client, received = small.client(), small.received()
        _turn(small, client, received, 0)
        state = small.saved(client)
        got = turn.answer_of_new_process(small.run.spec, cache_of(tmp_path_factory), state, received)
        expected = _turn(small, client, received, 1)
        assert same(got, expected), (
            "other bits in a new process: nothing may depend on what this process did before (module variables, hash())"
        )

    def _small(self, part: LocalUpdate, cache: Path) -> SmallFederation:
        users = [name for name in registry().names("method") if registry().method(name).local_update == self.name]
        assert users, f'no method uses the local update {self.name!r}: register a Method(local_update="{self.name}")'
        own = registry().check(self.kind, self.name, self.options)  # all of them: a method may have other defaults
        options = {f"local_update.{name}": value for name, value in own.items()}
        run = resolve(small_spec(users[0], options, backbones=(self.backbone,), steps=STEPS))
        return SmallFederation.of(replace(run, local_update=part), partition_of(run.spec, cache))


def _turn(small: SmallFederation, client: Client, received: Payload | None, number: int, **changes: Any) -> Outcome:
    update = small.train(client, received if number else None, number, **changes)
    return turn.answer(update, small.saved(client))


def _turns(small: SmallFederation) -> list[Outcome]:
    """The turns of client 0, which receives nothing in the first and the same payload in all others."""
    client, received = small.client(), small.received()
    return [_turn(small, client, received, number) for number in range(ROUNDS)]


def _following(small: SmallFederation, state: bytes, received: Payload | None) -> tuple[Outcome, dict[str, bytes]]:
    """The outcome of a second turn, and the client's models before it."""
    predictors = _weights(small.predictors(small.loaded(0, state), received, 1))
    client = small.loaded(0, state)
    return turn.answer(small.train(client, received, 1), small.saved(client)), predictors


def _something(small: SmallFederation) -> Payload:
    received = small.received()
    if received is None:
        pytest.skip("this update sends nothing, so there is nothing to receive")
    return received


def _weights(predictors: Mapping[str, nn.Module]) -> dict[str, bytes]:
    return {role: bytes(Payload.of(net).to_bytes()) for role, net in predictors.items()}


@contextmanager
def _no_loading(dataset: Dataset) -> Iterator[None]:
    """Fail if the dataset, which contains the test set, is loaded."""

    def refuse(*_arguments: object) -> None:
        pytest.fail("the update loads a dataset, and so the test set: use client.train and client.val")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(dataset), "load", refuse)
        yield


def _check_update(name: str, update: Update) -> None:
    assert isinstance(update, Update), f"{name} returned {type(update).__name__}; expected Update"
    count = update.num_examples
    assert math.isfinite(count), f"num_examples {count}; expected the number of training images"
    assert count >= 0, f"num_examples {count}; expected the number of training images"
    for metric, value in update.metrics.items():
        assert isinstance(value, int | float), f"metric {metric!r} is of type {type(value).__name__}; expected a number"
        assert math.isfinite(value), f"metric {metric!r} is {value}"
    if update.payload is None:
        return
    assert count > 0, "num_examples 0 for a client that has images: what it sends would not count"
    assert isinstance(update.payload, Payload), f"its payload is a {type(update.payload).__name__}; expected a Payload"
    for key, tensor in update.payload.tensors.items():
        assert isinstance(tensor, Tensor), f"{key!r} is of type {type(tensor).__name__}; only tensors are sent"
        assert not tensor.is_floating_point() or bool(tensor.isfinite().all()), f"{key!r} holds NaN or infinity"
    for key, word in update.payload.meta.items():
        assert isinstance(word, str), f"meta {key!r} is of type {type(word).__name__}; only strings are sent"
    update.payload.to_bytes()
