"""What METHODS asks of FedKD, on networks small enough to work its equations by hand."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from fedbench_core import RunSpec, run
from fedbench_core.api import Outputs, Payload, RequestError, RunError, Task, Training
from fedbench_core.federation.resolved import resolve
from fedbench_core.learning import ForwardPass
from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.compressors import Dense
from fedbench_core.parts.svd import Svd
from fedbench_core.registry import registry
from fedbench_core.runner import How
from fedbench_core.testing.toys import ToyFederation, toy_client, toy_moment
from fedbench_fedkd import FedKD

TASK = Task("multi-class", ("a", "b", "c"))
ONE_STEP = Training(steps=1, batch_size=16, lr=0.1, momentum=0.0)


def federation(part: FedKD, clients: int = 3, backbones: tuple[str, ...] = ("toy16",), **parts) -> ToyFederation:
    parts = {"compressor": Svd(), "aggregator": Mean(uniform=True), **parts}
    members = [toy_client(i, backbones[i % len(backbones)], 12 + 8 * i) for i in range(clients)]
    return ToyFederation(part, members, **parts)


def kd(**options) -> FedKD:
    return FedKD(student="toy12", **options)


def shown(logits, loss=1.0, embedding=None) -> ForwardPass:
    logits = torch.tensor(logits)
    return ForwardPass(Outputs(logits, torch.zeros(len(logits), 2) if embedding is None else embedding, ()), loss)


# the losses


def test_a_network_is_pulled_to_the_other_ones_predictions_and_not_the_other_way_round() -> None:
    """L^d_t = KL(p_s || p_t) / D, the reference being the other's: sum p_s log(p_s / p_t) / (CE_t + CE_s)."""
    p_t, p_s = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], [[0.5, 0.25, 0.25], [0.3, 0.3, 0.4]]
    teacher, student = (
        shown([[math.log(p) for p in row] for row in rows], torch.tensor(loss))
        for rows, loss in ((p_t, 0.75), (p_s, 0.5))
    )
    by_hand = sum(
        s * math.log(s / t) for row_s, row_t in zip(p_s, p_t, strict=True) for s, t in zip(row_s, row_t, strict=True)
    )
    other_way = sum(
        t * math.log(t / s) for row_s, row_t in zip(p_s, p_t, strict=True) for s, t in zip(row_s, row_t, strict=True)
    )
    assert kd().terms(TASK, teacher, student, None)["mutual"].item() == pytest.approx(by_hand / 2 / 1.25)
    assert kd().terms(TASK, student, teacher, None)["mutual"].item() == pytest.approx(other_way / 2 / 1.25)
    assert by_hand != pytest.approx(other_way, rel=0.05)


def by_hand(teacher, student, matrix, images, labels, *, detach=True, floor=0.1):
    """Both losses as the paper has them, with every network live."""
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
def test_a_step_is_the_papers_to_the_gradient(options) -> None:
    """Own: each network by its own loss, the projection once, by the student's. Joint: everything by the sum."""
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
    moved = [*teacher.parameters()], [*student.parameters()], [matrix]
    for loss, parameters in zip(joint if part.grad_mode == "joint" else (*losses, losses[1]), moved, strict=True):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(0.1 * gradient)

    said = part.train(client, None, ctx).payload
    trained = client.models["student"].state_dict()
    for name, value in teacher.named_parameters():
        torch.testing.assert_close(client.models["teacher"].get_parameter(name), value, rtol=1e-4, atol=1e-6)
    for name, value in student.named_parameters():
        torch.testing.assert_close(trained[name] + said.tensors[name], value.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(client.memory["hint"], matrix, rtol=1e-4, atol=1e-6)


def test_options_leave_out_what_they_name() -> None:
    told = {}
    for name, options in {
        "all": {},
        "mutual": {"mutual": False},
        "hidden": {"hidden": False},
    }.items():
        part, client = kd(**options), toy_client()
        part.setup(client, toy_moment())
        told[name] = part.train(client, None, toy_moment()).metrics
    terms = {"teacher_mutual", "student_mutual", "teacher_hidden", "student_hidden"}
    assert terms <= told["all"].keys()
    assert terms - told["mutual"].keys() == {"teacher_mutual", "student_mutual"}
    assert terms - told["hidden"].keys() == {"teacher_hidden", "student_hidden"}
    assert told["all"]["loss"] == told["all"]["teacher_task"]


def test_without_the_adaptive_denominator_terms_stand_as_they_are() -> None:
    own, other = shown([[0.0, 1.0, 2.0]], torch.tensor(2.0)), shown([[1.0, 0.0, 0.0]], torch.tensor(2.0))
    plain = kd(adaptive=False).terms(TASK, own, other, torch.tensor(3.0))
    divided = kd().terms(TASK, own, other, torch.tensor(3.0))
    assert plain["hidden"].item() == 3.0
    assert divided["hidden"].item() == 0.75
    assert plain["mutual"].item() == pytest.approx(4 * divided["mutual"].item())


# initial weights


def test_a_student_of_the_teachers_own_backbone_is_no_twin() -> None:
    part, client, ctx = FedKD(student="toy16"), toy_client(backbone="toy16"), toy_moment()
    part.setup(client, ctx)
    teacher, student = client.models["teacher"], client.models["student"]
    assert not torch.equal(teacher.stem.weight, student.stem.weight)
    assert torch.equal(teacher.stem.weight, ctx.build("toy16").stem.weight)  # as every method starts


def test_projections_are_each_clients_own_and_fit_its_teacher() -> None:
    group = federation(kd(), backbones=("toy16", "toy8"))
    group.round(0)
    matrices = [client.memory["hint"] for client in group.clients]
    assert [tuple(matrix.shape) for matrix in matrices] == [(16, 12), (8, 12), (16, 12)]
    assert not torch.equal(matrices[0], matrices[2])


# what travels


def test_server_and_all_clients_hold_the_same_lossy_student() -> None:
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
def test_without_loss_the_student_is_that_of_plain_averaging(compressor) -> None:
    group, plain = federation(kd(), compressor=compressor), federation(kd())
    for client in plain.clients:
        kd().setup(client, toy_moment())
    common = copy.deepcopy(plain.clients[0].models["student"])
    for number in range(3):
        group.round(number)
        trained = []
        for client in plain.clients:
            Payload.of(common).load_into(client.models["student"])
            said = kd().train(client, None, toy_moment(number)).payload.tensors
            trained.append({name: value + said[name] for name, value in common.state_dict().items()})
        for name, value in common.state_dict().items():
            values = torch.stack([state[name] for state in trained])
            value.copy_(values.mean(0) if value.is_floating_point() else values.max(0).values)
        held = group.predictors(group.clients[1], number)
        for name, value in common.state_dict().items():
            torch.testing.assert_close(held["student"][name], value, rtol=1e-4, atol=1e-5)


def test_a_single_client_without_compression_shares_its_student_with_itself() -> None:
    shared, alone = (federation(kd(share=share), clients=1, compressor=Dense()) for share in (True, False))
    for number in range(3):
        shared.round(number)
        assert alone.round(number)[0].payload is None
        held, own = (group.predictors(group.clients[0], number) for group in (shared, alone))
        for role in ("student", "teacher"):
            for name, value in own[role].items():
                torch.testing.assert_close(held[role][name], value, rtol=1e-4, atol=1e-5)


def test_a_pair_that_is_never_shared_learns_and_says_nothing() -> None:
    group = federation(kd(share=False))
    for number in range(3):
        assert all(reply.payload is None for reply in group.round(number).values())
    assert group.received is None
    students = [group.predictors(client, 2)["student"]["head.weight"] for client in group.clients]
    assert not torch.equal(students[0], students[1])
    assert not torch.equal(students[0], toy_moment().build("toy12", "student").head.weight)


def test_statistics_of_the_student_are_averaged_and_its_counter_is_the_largest() -> None:
    group = federation(kd(), training=Training(epochs=1, batch_size=4))  # 12, 20, 28 images: 3, 5 and 7 batches
    replies = group.round(0)
    start = toy_moment().build("toy12", "student").state_dict()
    held = group.predictors(group.clients[0], 0)["student"]
    for name in ("norm.running_mean", "norm.running_var"):
        said = torch.stack([reply.payload.tensors[name] for reply in replies.values()])
        torch.testing.assert_close(held[name], start[name] + said.mean(0))
        assert not torch.equal(held[name], start[name])
    assert int(held["norm.num_batches_tracked"]) == 7
    group.round(1)
    assert int(group.predictors(group.clients[0], 1)["student"]["norm.num_batches_tracked"]) == 14
    assert float(held["norm.running_var"].min()) > 0


def test_the_mean_is_that_of_the_paper() -> None:
    method = registry().method("fedkd")
    assert method.options["aggregator"] == {"uniform": True}
    assert (method.compressor, method.downlink, method.fidelity) == ("svd", None, "full")


def test_a_client_that_is_evaluated_untrained_has_its_initial_pair() -> None:
    group = federation(kd())
    held = group.predictors(toy_client(7, "toy16"), 0)
    assert list(held) == ["teacher", "student"]  # the teacher is what the paper predicts with
    assert torch.equal(held["student"]["stem.weight"], toy_moment().build("toy12", "student").stem.weight)


def test_predicting_changes_nothing() -> None:
    group = federation(kd())
    group.round(0)
    client = group.clients[0]
    before = [Payload.of(net).to_bytes() for net in client.models.values()], client.memory["turns"]
    first = group.predictors(client, 0)
    assert ([Payload.of(net).to_bytes() for net in client.models.values()], client.memory["turns"]) == before
    again = group.predictors(client, 0)
    assert all(torch.equal(first["student"][name], value) for name, value in again["student"].items())


# wrong input


def test_a_client_that_missed_a_round_is_refused() -> None:
    group = federation(kd())
    group.round(0, present=[0, 1])
    with pytest.raises(RunError, match=r"not there in every round \(turns: 0, round: 1\).*fedmic"):
        group.round(1)


@pytest.mark.parametrize("setting", [{"fraction": 0.5}, {"dropout": 0.1}])
def test_absence_is_refused_before_a_run(setting) -> None:
    with pytest.raises(RequestError, match="every client in every round"):
        resolve(RunSpec(method="fedkd", **setting))


def test_a_misspelt_student_is_refused_before_a_run() -> None:
    with pytest.raises(RequestError, match=r"mobilnetv3_small_050"):
        resolve(RunSpec(method="fedkd", set={"local_update.student": "mobilnetv3_small_050"}))


def test_a_student_larger_than_the_teacher_is_noted() -> None:
    small, large = toy_client(backbone="toy8"), toy_client(backbone="toy16")
    assert kd().check(large, toy_moment()) == []
    (note,) = kd().check(small, toy_moment())
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
def test_ablations_are_command_lines(options) -> None:
    setting = resolve(RunSpec(method="fedkd", set=options))
    for name, value in options.items():
        assert str(setting.spec.set[name]).lower() in {value, f"{value}.0"}


def test_sharing_a_pair_costs_no_arithmetic(tmp_path) -> None:
    """Copies of networks that are built to send or to compare are no training."""
    common = {"backbones": "test_resnet", "clients": 1, "rounds": 1, "steps": 1, "limit": 20, "evaluate_every": 0}
    spent = []
    for share in (True, False):
        options = {"local_update.student": "test_efficientnet", "local_update.share": share}
        spec = RunSpec.of({"method": "fedkd", **common, "set": options})
        record = run(spec, How(out=tmp_path / "runs", cache=tmp_path / "cache", executor="serial")).record
        spent.append(record["costs"]["training_gflops"])
    assert spent[0] == spent[1] > 0


def test_the_compressor_can_be_swapped() -> None:
    assert resolve(RunSpec(method="fedkd", compressor="dense")).compressor == Dense()
    assert resolve(RunSpec(method="fedkd")).downlink == Svd()
