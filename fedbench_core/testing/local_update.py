"""What every local update keeps to."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest
import torch
from torch import Tensor, nn

from fedbench_core.api import Client, Dataset, LocalUpdate, Payload, Task, Update
from fedbench_core.federation.resolved import resolve
from fedbench_core.federation.scoring import digest
from fedbench_core.registry import registry
from fedbench_core.testing import turn
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched, same
from fedbench_core.testing.examples import versions
from fedbench_core.testing.small import (
    BACKBONE,
    SETTINGS,
    Scene,
    cache_of,
    disguised,
    rest,
    several_labels,
    shares_of,
    small_spec,
)

ROUNDS = int(SETTINGS["rounds"])
STEPS = 1
_STAGES: "WeakKeyDictionary[type, Scene]" = WeakKeyDictionary()
"""By suite: making networks anew for each case would take longer than all else."""
Outcome = dict[str, object]


class LocalUpdateContract(PartContract[LocalUpdate]):
    """A turn is a pure function of what the client keeps, what it hears and the context.

    options: as after `--set local_update.`; backbone: what its clients have.
    """

    kind = "local_update"
    backbone = BACKBONE

    @pytest.fixture
    def scene(self, part: LocalUpdate, tmp_path_factory: pytest.TempPathFactory) -> Scene:
        """Clients that turn with this part, in the setting of the first method that uses it.

        Its networks serve all cases of this suite, as those of a worker serve all its clients.
        """
        if type(self) not in _STAGES:
            _STAGES[type(self)] = self._scene(part, cache_of(tmp_path_factory))
        stage = _STAGES[type(self)]
        stage.lender.recall()
        return replace(stage, part=part, setting=replace(stage.setting, local_update=part))

    @pytest.fixture
    def trace(self, scene: Scene) -> Trace:
        """A client's first two turns."""
        received = scene.received()

        def turns() -> list[Outcome]:
            client = scene.client()
            return [_turn(scene, client, received, number) for number in range(2)]

        return turns

    def test_says_what_can_travel(self, scene: Scene) -> None:
        """A reply's payload is tensors and strings, finite; its weight and metrics are numbers."""
        client = scene.client()
        _check_reply(self.name, scene.part.train(client, None, scene.context()))
        _check_reply(self.name, scene.part.train(client, scene.received(), scene.context(1)))

    @pytest.mark.parametrize("images", [1, 9])
    def test_survives_a_last_batch_of_one_image(self, scene: Scene, images: int) -> None:
        """A client with one image, or one more than fills its batches, trains like any other."""
        training = replace(scene.setting.spec.training, epochs=1, steps=None, batch_size=8)
        reply = scene.part.train(scene.client(images=images), None, scene.context(training=training))
        _check_reply(self.name, reply)

    def test_trains_by_the_budget(self, scene: Scene) -> None:
        """A larger local budget is more steps: costs are counted, and methods compared, by what a turn reports."""
        steps = []
        for budget in (1, 4):
            training = replace(scene.setting.spec.training, steps=budget)
            reply = scene.part.train(scene.client(), None, scene.context(training=training))
            steps.append(reply.metrics.get("steps"))
        if steps == [None, None]:
            pytest.skip('this update reports no metric "steps": its arithmetic is not counted')
        assert 0 < float(steps[0] or 0) < float(steps[1] or 0), (
            f"with a budget of 1 and of 4 steps it reports {steps[0]} and {steps[1]}: train by ctx.training"
        )

    def test_sees_its_own_images_only(self, scene: Scene, tmp_path: Path) -> None:
        """Neither other clients' images nor the test set have a part in training: with other ones nothing changes."""
        apart = replace(scene, shares=disguised(scene.shares, 0, tmp_path))
        received = scene.received()
        with _no_loading(scene.setting.dataset):
            first, second = (
                [_turn(place, client, received, number) for number in range(2)]
                for place in (scene, apart)
                for client in [place.client()]
            )
        assert same(first, second), (
            "it trains otherwise when the images of other clients and of the test set are others: look at client.train "
            "(and client.val), by their tensors() and targets() alone"
        )

    def test_works_on_multi_label_tasks(self, scene: Scene) -> None:
        """The task owns the loss and the divergence: an update that asks it works on every kind of label."""
        task = Task("multi-label", scene.shares.splits.task.classes)
        client = scene.client()
        client.train, client.val = (several_labels(examples, task) for examples in (client.train, client.val))
        reply = scene.part.train(client, None, scene.context(task=task))
        _check_reply(self.name, reply)

    def test_metrics_are_the_same_each_turn(self, scene: Scene) -> None:
        """`clients.csv` has a column for each metric, so every turn reports the same ones."""
        client = scene.client()
        names = [
            sorted(scene.part.train(client, received, scene.context(number)).metrics)
            for number, received in enumerate((None, scene.received()))
        ]
        assert names[0] == names[1], (
            f"a turn that hears nothing reports {names[0]}, one that hears something {names[1]}: report all each time"
        )

    def test_what_it_received_is_unchanged(self, scene: Scene) -> None:
        """Others hear the same payload: neither training nor predicting writes to it."""
        received = _something(scene)
        before, old = bytes(received.to_bytes()), versions(received)
        client = scene.client()
        scene.part.train(client, None, scene.context())
        for what, hear in (("predictors", scene.part.predictors), ("train", scene.part.train)):
            hear(client, received, scene.context(1))
            assert same(bytes(received.to_bytes()), before), (
                f"{what} changed the payload it received: load it into a model"
            )
            assert versions(received) == old, f"{what} wrote to the tensors it received in place: work on a clone"

    @pytest.mark.parametrize("trained", [False, True], ids=["untrained", "trained"])
    def test_predictors_change_nothing(self, scene: Scene, trained: bool) -> None:
        """Predicting, as often as one likes, leaves what the client keeps as it was."""
        client = scene.client()
        if trained:
            scene.part.train(client, None, scene.context())
        for received in (None, scene.received()):
            before = rest(client)
            first = _weights(scene.part.predictors(client, received, scene.context()))
            assert same(rest(client), before), (
                "predictors changed the client's models or memory: copy before you change"
            )
            again = _weights(scene.part.predictors(client, received, scene.context()))
            assert same(again, first), "predictors gave other models the second time: they follow from what it is given"

    def test_predictors_classify(self, scene: Scene) -> None:
        """There is a headline model, the roles are always the same, and each gives logits."""
        client = scene.client()
        untrained = scene.part.predictors(client, None, scene.context())
        assert untrained, "predictors gave no model: the first is what this client would deploy now"
        images = client.train.tensors()[0][:4]
        for role, net in untrained.items():
            assert isinstance(net, nn.Module), f"predictor {role!r} is of type {type(net).__name__}, not a module"
            logits = net.eval()(images)
            expected = (len(images), scene.shares.splits.task.outputs)
            assert tuple(logits.shape) == expected, (
                f"predictor {role!r} gave {tuple(logits.shape)} for {len(images)} images; expected {expected}"
            )
            assert bool(logits.isfinite().all()), f"predictor {role!r} gave NaN or infinity"
        scene.part.train(client, None, scene.context())
        for received in (None, scene.received()):
            roles = list(scene.part.predictors(client, received, scene.context()))
            assert roles == list(untrained), f"roles {roles} after a turn, {list(untrained)} before: keep them the same"

    def test_predictors_are_told_apart(self, scene: Scene) -> None:
        """Of one class, name and `state_dict` means of one mind: such a predictor is scored once, whoever has it."""
        images = scene.client().train.tensors()[0][:4]
        known: dict[str, tuple[str, Tensor]] = {}
        for number in (0, 1):
            client = scene.client(number)
            scene.part.train(client, None, scene.context())
            for role, net in scene.part.predictors(client, scene.received(), scene.context(1)).items():
                who = f"{role!r} of client {number}"
                with torch.no_grad():
                    logits = net.eval()(images)
                other, expected = known.setdefault(digest(net), (who, logits))
                assert torch.allclose(logits, expected), (
                    f"{who} and {other} have one class, name and state_dict, and predict differently: what decides "
                    "belongs in parameters or registered buffers, or one would get the scores of the other"
                )

    def test_what_it_hears_has_a_part(self, scene: Scene) -> None:
        """What was said is paid for in bytes: whoever hears it trains, keeps, says or predicts something else."""
        received, client = _something(scene), scene.client()
        scene.part.train(client, None, scene.context())
        state = rest(client)
        with_it, without = (_following(scene, state, hears) for hears in (received, None))
        assert not same(with_it, without), (
            "a client that hears what others said does as one that hears nothing: load it, or learn from it"
        )

    def test_inspecting_notes_words(self, scene: Scene) -> None:
        """What is noted about a backbone before a run is a list of sentences."""
        notes = scene.part.check(scene.client(), scene.context())
        assert all(isinstance(note, str) for note in notes), f"inspect gave {notes}; expected strings"

    def test_global_state_is_untouched(self, scene: Scene) -> None:
        """No global generator is read or seeded; a network's dropout alone may, which this backbone has not."""
        received = scene.received()
        with global_state_untouched(f"{self.name}'s setup, update or predictors"):
            client = scene.client()
            scene.part.train(client, None, scene.context())
            scene.part.train(client, received, scene.context(1))
            scene.part.predictors(client, received, scene.context(1))

    def test_same_turn_same_bits(self, scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Equal clients, payloads and contexts give equal replies and states, from any instance of the part."""
        first = _turns(scene)
        for again in (scene, self._scene(self.make(), cache_of(tmp_path_factory))):
            assert same(_turns(again), first), (
                "the same turns gave other bits: draw from ctx.rng(...) and ctx.generator(...), keep nothing here"
            )

    def test_state_is_only_in_the_client(self, scene: Scene) -> None:
        """Another client that turns in between changes nothing: a part remembers no one."""
        alone = _turns(scene)
        other, client, received = scene.client(1), scene.client(), scene.received()
        for number in range(ROUNDS):
            scene.part.train(other, received if number else None, scene.context(number))
            got = _turn(scene, client, received, number)
            assert same(got, alone[number]), (
                f"round {number} of client 0 has other bits when client 1 turns before it: keep state in "
                "client.models and client.memory"
            )

    def test_state_survives_the_disk(self, scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A client that was saved and loaded after every turn, by other instances of everything, goes on the same."""
        straight, received = _turns(scene), scene.received()
        state = rest(scene.client())
        for number in range(ROUNDS):
            fresh = self._scene(self.make(), cache_of(tmp_path_factory))
            client = fresh.wake(0, state)
            got = _turn(fresh, client, received, number)
            assert same(got, straight[number]), (
                f"other bits in round {number} after models and memory were saved and loaded: keep all state in them"
            )
            state = rest(client)

    def test_goes_on_in_a_new_process(self, scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A client that was saved and loaded in a new process goes on with the same bits."""
        folder = tmp_path_factory.mktemp("turn")
        client, received = scene.client(), scene.received()
        _turn(scene, client, received, 0)
        (folder / turn.STATE).write_bytes(rest(client))
        if received is not None:
            (folder / turn.RECEIVED).write_bytes(received.to_bytes())
        spec = scene.setting.spec.model_dump(mode="json")
        request = {"spec": spec, "cache": str(cache_of(tmp_path_factory)), "client": 0, "round": 1}
        (folder / turn.REQUEST).write_text(json.dumps(request))
        turn.run_apart(folder)
        expected = _turn(scene, client, received, 1)
        got = json.loads((folder / turn.ANSWER).read_text())
        assert same(got, json.loads(json.dumps(expected))), (
            "other bits in a new process: nothing may depend on what this process did before (module variables, hash())"
        )

    def _scene(self, part: LocalUpdate, cache: Path) -> Scene:
        users = [name for name in registry().names("method") if registry().method(name).local_update == self.name]
        assert users, f'no method uses the local update {self.name!r}: register a Method(local_update="{self.name}")'
        options = {f"local_update.{name}": value for name, value in self.options.items()}
        setting = resolve(small_spec(users[0], options, backbones=(self.backbone,), steps=STEPS))
        return Scene.of(replace(setting, local_update=part), shares_of(setting.spec, cache))


def _turn(scene: Scene, client: Client, received: Payload | None, number: int) -> Outcome:
    reply = scene.part.train(client, received if number else None, scene.context(number))
    return turn.answer(reply, rest(client))


def _turns(scene: Scene) -> list[Outcome]:
    """The turns of client 0, which hears nothing in the first and the same in all others."""
    client, received = scene.client(), scene.received()
    return [_turn(scene, client, received, number) for number in range(ROUNDS)]


def _following(scene: Scene, state: bytes, received: Payload | None) -> tuple[Outcome, dict[str, bytes]]:
    """What comes of a second turn, and what the client would predict with before it."""
    predictors = _weights(scene.part.predictors(scene.wake(0, state), received, scene.context(1)))
    client = scene.wake(0, state)
    return turn.answer(scene.part.train(client, received, scene.context(1)), rest(client)), predictors


def _something(scene: Scene) -> Payload:
    received = scene.received()
    if received is None:
        pytest.skip("this update says nothing, so there is nothing to hear")
    return received


def _weights(predictors: Mapping[str, nn.Module]) -> dict[str, bytes]:
    assert isinstance(predictors, Mapping), f"predictors gave a {type(predictors).__name__}; expected models by role"
    return {role: bytes(Payload.of(net).to_bytes()) for role, net in predictors.items()}


@contextmanager
def _no_loading(dataset: Dataset) -> Iterator[None]:
    """Fails when somebody loads the dataset, with its test set."""

    def refuse(*_arguments: object) -> None:
        pytest.fail("the update loads a dataset by itself, and so the test set: look at client.train and client.val")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(dataset), "load", refuse)
        yield


def _check_reply(name: str, reply: Update) -> None:
    assert isinstance(reply, Update), f"{name} returned a {type(reply).__name__}; expected a Update"
    assert math.isfinite(reply.weight), f"weight {reply.weight}; expected the number of training images"
    assert reply.weight >= 0, f"weight {reply.weight}; expected the number of training images"
    for metric, value in reply.metrics.items():
        assert isinstance(value, int | float), f"metric {metric!r} is of type {type(value).__name__}; expected a number"
        assert math.isfinite(value), f"metric {metric!r} is {value}"
    if reply.payload is None:
        return
    assert reply.weight > 0, "weight 0 for a client that has images: what it says would not count"
    assert isinstance(reply.payload, Payload), f"it says a {type(reply.payload).__name__}; expected a Payload"
    for key, tensor in reply.payload.tensors.items():
        assert isinstance(tensor, Tensor), f"{key!r} is of type {type(tensor).__name__}; only tensors travel"
        assert not tensor.is_floating_point() or bool(tensor.isfinite().all()), f"{key!r} holds NaN or infinity"
    for key, word in reply.payload.meta.items():
        assert isinstance(word, str), f"meta {key!r} is of type {type(word).__name__}; only strings travel"
    reply.payload.to_bytes()
