"""FedKD's equations computed by hand, and what its clients send, on toy networks."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from fedbench_core import RunSpec
from fedbench_core.api import Outputs, Payload, RequestError, RunError, Task, Training
from fedbench_core.federation.assembly import resolve
from fedbench_core.learning import ForwardPass
from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.compressors import Dense
from fedbench_core.parts.svd import Svd
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyFederation, ToyNet, toy_client, toy_moment
from fedbench_fedkd import FedKD

TASK = Task("multi-class", ("a", "b", "c"))
ONE_STEP = Training(steps=1, batch_size=16, lr=0.1, momentum=0.0)


def federation(part: FedKD, clients: int = 3, backbones: tuple[str, ...] = ("toy16",), **parts) -> ToyFederation:
    parts = {"compressor": Svd(), "aggregator": Mean(uniform=True), **parts}
    members = [toy_client(i, backbones[i % len(backbones)], 12 + 8 * i) for i in range(clients)]
    return ToyFederation(part, members, **parts)


def kd(**options) -> FedKD:
    return FedKD(student="toy12", **options)


def forward_pass(logits, loss) -> ForwardPass:
    logits = torch.tensor(logits)
    return ForwardPass(Outputs(logits, torch.zeros(len(logits), 2), ()), torch.tensor(loss))


# the losses


def test_mutual_term_has_the_other_network_as_reference() -> None:
    """L^d_t = KL(p_s || p_t) / D = sum p_s log(p_s / p_t) / (CE_t + CE_s)."""
    p_t, p_s = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], [[0.5, 0.25, 0.25], [0.3, 0.3, 0.4]]
    teacher, student = (
        forward_pass([[math.log(p) for p in row] for row in rows], loss) for rows, loss in ((p_t, 0.75), (p_s, 0.5))
    )
    pairs = [pair for rows in zip(p_s, p_t, strict=True) for pair in zip(*rows, strict=True)]
    of_teacher, of_student = sum(s * math.log(s / t) for s, t in pairs), sum(t * math.log(t / s) for s, t in pairs)
    assert kd().terms(TASK, teacher, student, None)["mutual"].item() == pytest.approx(of_teacher / 2 / 1.25)
    assert kd().terms(TASK, student, teacher, None)["mutual"].item() == pytest.approx(of_student / 2 / 1.25)
    assert of_teacher != pytest.approx(of_student, rel=0.05)


def by_hand(teacher, student, matrix, images, labels, *, detach=True, floor=0.1):
    """Both losses of the paper; gradients flow into both networks."""
    of_t, of_s = teacher.outputs(images), student.outputs(images)
    ce_t, ce_s = F.cross_entropy(of_t.logits, labels), F.cross_entropy(of_s.logits, labels)
    d = (ce_t + ce_s).clamp(min=floor)
    d = d.detach() if detach else d
    p_t, p_s = of_t.logits.softmax(1), of_s.logits.softmax(1)
    kl_t = (p_s * (p_s / p_t).log()).sum(1).mean()
    kl_s = (p_t * (p_t / p_s).log()).sum(1).mean()
    hidden = ((of_t.embedding - of_s.embedding @ matrix.T) ** 2).mean()
    return ce_t + (kl_t + hidden) / d, ce_s + (kl_s + hidden) / d


@pytest.mark.parametrize(
    "options",
    [{}, {"detach_denominator": False, "denominator_floor": 0.0}, {"denominator_floor": 50.0}, {"grad_mode": "joint"}],
    ids=str,
)
def test_step_equals_the_paper_by_hand(options) -> None:
    """own: each network follows its own loss, the projection the student's. joint: everything follows the sum."""
    part, client, ctx = kd(**options), toy_client(backbone="toy16"), toy_moment(training=ONE_STEP)
    part.setup(client, ctx)
    nets = client.models["teacher"], client.models["student"]
    teacher, student = (copy.deepcopy(net).train() for net in nets)
    matrix = client.memory["hint"].clone().requires_grad_()
    images, labels = client.train.tensors()
    losses = by_hand(
        teacher, student, matrix, images, labels,
        detach=part.detach_denominator, floor=part.denominator_floor,
    )  # fmt: skip
    joint = [sum(losses)] * 3
    learning = [*teacher.parameters()], [*student.parameters()], [matrix]
    for loss, parameters in zip(joint if part.grad_mode == "joint" else (*losses, losses[1]), learning, strict=True):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(0.1 * gradient)

    sent = part.train(client, None, ctx).payload.tensors
    common = client.models["student"].state_dict()
    for name, value in teacher.named_parameters():
        torch.testing.assert_close(client.models["teacher"].get_parameter(name), value, rtol=1e-4, atol=1e-6)
    for name, value in student.named_parameters():
        torch.testing.assert_close(common[name] + sent[name], value.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(client.memory["hint"], matrix, rtol=1e-4, atol=1e-6)


def test_disabled_terms_are_left_out() -> None:
    metrics = {}
    for options in ({}, {"mutual": False}, {"hidden": False}):
        part, client = kd(**options), toy_client()
        part.setup(client, toy_moment())
        metrics["".join(options)] = part.train(client, None, toy_moment()).metrics
    terms = {"teacher_mutual", "student_mutual", "teacher_hidden", "student_hidden"}
    assert terms <= metrics[""].keys()
    assert terms - metrics["mutual"].keys() == {"teacher_mutual", "student_mutual"}
    assert terms - metrics["hidden"].keys() == {"teacher_hidden", "student_hidden"}
    assert metrics[""]["loss"] == metrics[""]["teacher_task"]


def test_terms_that_are_not_adaptive_are_not_divided() -> None:
    own, other = forward_pass([[0.0, 1.0, 2.0]], 2.0), forward_pass([[1.0, 0.0, 0.0]], 2.0)
    plain = kd(adaptive=False).terms(TASK, own, other, torch.tensor(3.0))
    divided = kd().terms(TASK, own, other, torch.tensor(3.0))
    assert plain["hidden"].item() == 3.0
    assert divided["hidden"].item() == 0.75
    assert plain["mutual"].item() == pytest.approx(4 * divided["mutual"].item())


# initial weights


def test_student_of_the_teachers_backbone_has_other_initial_weights() -> None:
    part, client, ctx = FedKD(student="toy16"), toy_client(backbone="toy16"), toy_moment()
    part.setup(client, ctx)
    teacher, student = client.models["teacher"], client.models["student"]
    assert not torch.equal(teacher.stem.weight, student.stem.weight)
    assert torch.equal(teacher.stem.weight, ctx.build("toy16").stem.weight)  # those of every other method


def test_projections_fit_their_teachers_and_differ_once_trained() -> None:
    group = federation(kd(), backbones=("toy16", "toy8"))
    group.round(0)
    matrices = [client.memory["hint"] for client in group.clients]
    assert [tuple(matrix.shape) for matrix in matrices] == [(16, 12), (8, 12), (16, 12)]
    assert not torch.equal(matrices[0], matrices[2])


def test_untrained_client_predicts_with_its_initial_pair() -> None:
    held = federation(kd()).predictors(toy_client(7, "toy16"), 0)
    assert list(held) == ["teacher", "student"]  # the paper predicts with the teacher
    assert torch.equal(held["student"]["stem.weight"], toy_moment().build("toy12", "student").stem.weight)


# what is sent


def test_student_is_the_same_on_all_clients_in_spite_of_lossy_compression() -> None:
    group = federation(kd(), clients=4, backbones=("toy16", "toy8"), rounds=5)
    student = toy_moment().build("toy12", "student").state_dict()
    for number in range(5):
        group.round(number)
        for name, value in group.received.tensors.items():
            student[name] = student[name] + value
        for client in group.clients:
            held = group.predictors(client, number)["student"]
            assert all(torch.equal(held[name], student[name]) for name in student)
    assert all("svd" in Payload.from_bytes(blob).meta for blob in group.blobs)


@pytest.mark.parametrize("compressor", [Dense(), Svd(energy_start=1, energy_end=1)], ids=["dense", "T = 1"])
def test_student_without_compression_loss_is_that_of_plain_averaging(compressor) -> None:
    group, plain = federation(kd(), compressor=compressor), federation(kd())
    for client in plain.clients:
        kd().setup(client, toy_moment(node=client.id))
    common = copy.deepcopy(plain.clients[0].models["student"])
    for number in range(3):
        group.round(number)
        trained = []
        for client in plain.clients:
            Payload.of(common).load_into(client.models["student"])
            sent = kd().train(client, None, toy_moment(number, node=client.id)).payload.tensors
            trained.append({name: value + sent[name] for name, value in common.state_dict().items()})
        for name, value in common.state_dict().items():
            values = torch.stack([state[name] for state in trained])
            value.copy_(values.mean(0) if value.is_floating_point() else values.max(0).values)
        held = group.predictors(group.clients[1], number)
        for name, value in common.state_dict().items():
            torch.testing.assert_close(held["student"][name], value, rtol=1e-4, atol=1e-5)


def test_single_client_without_compression_trains_as_an_unshared_pair() -> None:
    shared, alone = (federation(kd(share=share), clients=1, compressor=Dense()) for share in (True, False))
    for number in range(3):
        shared.round(number)
        assert alone.round(number)[0].payload is None
        held, own = (group.predictors(group.clients[0], number) for group in (shared, alone))
        for role in ("student", "teacher"):
            for name, value in own[role].items():
                torch.testing.assert_close(held[role][name], value, rtol=1e-4, atol=1e-5)


def test_unshared_pairs_learn_and_send_nothing() -> None:
    group = federation(kd(share=False))
    for number in range(3):
        assert all(update.payload is None for update in group.round(number).values())
    assert group.received is None
    students = [group.predictors(client, 2)["student"]["head.weight"] for client in group.clients]
    assert not torch.equal(students[0], students[1])
    assert not torch.equal(students[0], toy_moment().build("toy12", "student").head.weight)


def test_student_statistics_are_averaged_and_its_counter_is_the_largest() -> None:
    group = federation(kd(), training=Training(epochs=1, batch_size=4))  # 12, 20, 28 images: 3, 5 and 7 batches
    updates = group.round(0)
    start = toy_moment().build("toy12", "student").state_dict()
    held = group.predictors(group.clients[0], 0)["student"]
    for name in ("norm.running_mean", "norm.running_var"):
        sent = torch.stack([update.payload.tensors[name] for update in updates.values()])
        torch.testing.assert_close(held[name], start[name] + sent.mean(0))
        assert not torch.equal(held[name], start[name])
    assert int(held["norm.num_batches_tracked"]) == 7
    group.round(1)
    assert int(group.predictors(group.clients[0], 1)["student"]["norm.num_batches_tracked"]) == 14
    assert float(held["norm.running_var"].min()) > 0


@pytest.mark.parametrize("share", [True, False])
def test_forward_passes_are_one_per_network_and_step(share, monkeypatch) -> None:
    """Sharing a pair costs no arithmetic: the student's copies are only built, sent and compared."""
    seen = []
    observer = SimpleNamespace(active=False, observe=lambda net, images: seen.append((net.name, len(images))))
    monkeypatch.setattr(ToyNet, "observer", observer)
    group = federation(kd(share=share), clients=1)
    group.round(0)
    group.round(1)
    assert len(seen) == 2 * 2 * 3  # rounds, networks, steps


def test_method_is_the_papers() -> None:
    method = registry().method("fedkd")
    assert method.options["aggregator"] == {"uniform": True}
    assert (method.compressor, method.downlink, method.fidelity) == ("svd", None, "full")


# wrong requests


def test_client_that_missed_a_round_is_refused() -> None:
    group = federation(kd())
    group.round(0, participating=[0, 1])
    with pytest.raises(RunError, match=r"client 2 has taken 0 turns before round 1\b.*fedmic"):
        group.round(1)


def test_student_that_is_misspelled_is_refused_before_a_run() -> None:
    with pytest.raises(RequestError, match="mobilnetv3_small_050"):
        resolve(RunSpec(method="fedkd", set={"local_update.student": "mobilnetv3_small_050"}))


def test_student_larger_than_the_teacher_is_noted() -> None:
    assert kd().check(toy_client(backbone="toy16"), toy_moment()) == []
    (note,) = kd().check(toy_client(backbone="toy8"), toy_moment())
    assert "student toy12" in note
    assert "teacher toy8" in note


@pytest.mark.parametrize(
    "options",
    [
        {"local_update.mutual": "false"},
        {"local_update.hidden": "false"},
        {"local_update.adaptive": "false"},
        {"local_update.share": "false"},
        {"local_update.grad_mode": "joint"},
        {"local_update.detach_denominator": "false", "local_update.denominator_floor": "0"},
        {"compressor.energy_start": "0.98", "compressor.energy_end": "0.98"},
        {"aggregator.uniform": "false"},
    ],
    ids=str,
)
def test_ablation_is_a_request(options) -> None:
    run = resolve(RunSpec(method="fedkd", set=options))
    for name, value in options.items():
        assert str(run.spec.set[name]).lower() in {value, f"{value}.0"}
