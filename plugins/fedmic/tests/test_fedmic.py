"""FedMIC's losses computed by hand, its options, and its common student when clients are absent."""

import copy

import pytest
import torch
from torch.nn import functional as F

from fedbench_core import RunSpec
from fedbench_core.api import Payload, RequestError, Training
from fedbench_core.federation.assembly import resolve
from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.compressors import Dense
from fedbench_core.parts.svd import Svd
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyFederation, toy_client, toy_moment
from fedbench_fedmic import FedMIC, FedMICLiteral

ONE_STEP = Training(steps=1, batch_size=16, lr=0.1, momentum=0.0)
ROUNDS = 5


def mic(kind: type[FedMIC] = FedMIC, **options) -> FedMIC:
    return kind(student="toy12", **options)


def federation(part: FedMIC, clients: int = 4, backbones: tuple[str, ...] = ("toy16", "toy8"), **parts):
    defaults = {"compressor": Svd(), "aggregator": Mean(accumulate=True), "rounds": ROUNDS}
    members = [toy_client(i, backbones[i % len(backbones)], 12 + 8 * i) for i in range(clients)]
    return ToyFederation(part, members, **{**defaults, **parts})


def initial() -> dict[str, torch.Tensor]:
    return toy_moment().build("toy12", "student").state_dict()


# the losses


def by_hand(part, teacher, student, matrices, images, labels):
    """Both losses of the reconstruction; `detach` stands where gradients stop."""
    of = {"teacher": teacher.outputs(images), "student": student.outputs(images)}
    ce = {role: F.cross_entropy(outputs.logits, labels) for role, outputs in of.items()}
    d = (ce["teacher"] + ce["student"]).detach().clamp(min=part.denominator_floor) if part.adaptive else 1.0
    losses = {}
    for role, other in (("teacher", "student"), ("student", "teacher")):
        own, seen, z = of[role].embedding, of[other].embedding.detach(), of[other].logits.detach()
        if f"representation {role}" in matrices:
            rep = ((own - seen @ matrices[f"representation {role}"].T) ** 2).mean()
        else:
            # both to the student's 12 entries
            rep = (F.adaptive_avg_pool1d(own, 12) - F.adaptive_avg_pool1d(seen, 12)).square().mean()
        z = z @ matrices[f"decision {role}"].T if f"decision {role}" in matrices else z
        q, p = (z / part.temperature).softmax(1), (of[role].logits / part.temperature).softmax(1)
        dec = (q * (q / p).log()).sum(1).mean() * part.temperature**2
        losses[role] = ce[role] + (rep * part.representation + dec * part.decision) / d
    return losses


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ("representation teacher", "representation student")),
        ({"aux_site": "decision"}, ("decision teacher", "decision student")),
        (
            {"aux_site": "both", "temperature": 3.0},
            ("representation teacher", "representation student", "decision teacher", "decision student"),
        ),
        ({"adaptive": False}, ("representation teacher", "representation student")),
        ({"denominator_floor": 20.0}, ("representation teacher", "representation student")),
        ({"decision": False}, ("representation teacher", "representation student")),
        ({"representation": False}, ()),
    ],
    ids=str,
)
def test_step_equals_the_reconstruction_by_hand(options, names) -> None:
    """Teacher and its matrices follow the teacher's loss, student and its matrices the student's."""
    part, client, ctx = mic(**options), toy_client(backbone="toy16"), toy_moment(training=ONE_STEP)
    part.setup(client, ctx)
    assert client.memory.keys() == set(names)
    nets = {
        "teacher": copy.deepcopy(client.models["teacher"]).train(),
        "student": ctx.build("toy12", "student").train(),
    }
    if "decision teacher" in names:  # the identity would hide a wrong transpose
        for role in nets:
            client.memory[f"decision {role}"] = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [-0.5, 0.0, 2.0]])
    matrices = {name: value.clone().requires_grad_() for name, value in client.memory.items()}
    losses = by_hand(part, **nets, matrices=matrices, images=client.train.tensors()[0], labels=client.train.targets())
    for role, net in nets.items():
        learning = [*net.parameters(), *(value for name, value in matrices.items() if name.endswith(role))]
        gradients = torch.autograd.grad(losses[role], learning, retain_graph=True)
        with torch.no_grad():
            for value, gradient in zip(learning, gradients, strict=True):
                value.sub_(0.1 * gradient)

    sent = part.train(client, None, ctx).payload.tensors
    for name, value in nets["teacher"].named_parameters():
        torch.testing.assert_close(client.models["teacher"].get_parameter(name), value, rtol=1e-4, atol=1e-6)
    for name, value in nets["student"].named_parameters():
        torch.testing.assert_close(initial()[name] + sent[name], value.detach(), rtol=1e-4, atol=1e-6)
    for name, value in matrices.items():
        torch.testing.assert_close(client.memory[name], value, rtol=1e-4, atol=1e-6)


def test_auxiliary_matrices_are_independent_and_those_of_decision_start_as_the_identity() -> None:
    client = toy_client(backbone="toy12")
    mic(aux_site="both").setup(client, toy_moment())
    assert not torch.equal(client.memory["representation teacher"], client.memory["representation student"])
    assert torch.equal(client.memory["decision teacher"], torch.eye(3))
    assert client.memory["decision teacher"] is not client.memory["decision student"]


def test_metrics_have_the_norms_of_both_embeddings() -> None:
    client = toy_client()
    mic().setup(client, toy_moment())
    assert {"teacher_embedding", "student_embedding"} <= mic().train(client, None, toy_moment()).metrics.keys()


# what is sent

SCARCE = [[0], [1, 2], [0], [2], [0, 1]]
"""The participating clients of each round; client 3 never takes part."""


def test_sum_of_the_server_is_exact_and_clients_receive_its_truncation() -> None:
    group = federation(mic())
    exact = {name: value.double() for name, value in initial().items()}
    for number, participating in enumerate(SCARCE):
        updates = group.round(number, participating)
        total = sum(update.num_examples for update in updates.values())
        for name in exact:
            if initial()[name].is_floating_point():
                sent = [_decoded(one.payload, number).tensors[name] * one.num_examples for one in updates.values()]
                exact[name] += sum(sent) / total
        sums = {name: group.server.memory[f"sum {name}"].to(value.dtype) for name, value in initial().items()}
        truncated = _decoded(Payload(sums), number)
        for name, value in initial().items():
            if value.is_floating_point():
                torch.testing.assert_close(group.server.memory[f"sum {name}"], exact[name] - value, rtol=0, atol=1e-5)
            for client in group.clients:
                held = group.predictors(client, number)["student"][name]
                assert torch.equal(held, value + truncated.tensors[name])
    assert all("svd" in Payload.from_bytes(blob).meta for blob in group.blobs)


def _decoded(payload: Payload, number: int) -> Payload:
    part = Svd()
    return part.decode(part.encode(payload, toy_moment(number, ROUNDS), {}))


def test_delta_is_to_the_received_student_and_not_to_the_exact_sum() -> None:
    """What truncation took from the downlink must not be sent a second time."""
    group = federation(mic(), clients=1, training=Training(steps=1, batch_size=8, lr=1e-12, momentum=0.0))
    group.server.memory = {
        f"sum {name}": (torch.randn(value.shape, generator=torch.Generator().manual_seed(1)) * 0.1).double()
        if value.is_floating_point() and "running" not in name
        else torch.zeros_like(value, dtype=torch.float64 if value.is_floating_point() else value.dtype)
        for name, value in initial().items()
    }
    group.round(0)
    assert group.round(1)[0].payload.tensors["body.weight"].abs().max() < 1e-6


@pytest.mark.parametrize("downlink", [None, Dense()], ids=["same", "dense"])
def test_student_without_compression_loss_is_the_weighted_mean(downlink) -> None:
    group = federation(mic(), compressor=Dense(), downlink=downlink)
    mean = initial()
    for number in range(3):
        before = mean
        updates = group.round(number)
        weights = [update.num_examples for update in updates.values()]
        mean = {}
        for name, value in before.items():
            if value.is_floating_point():
                trained = [value + update.payload.tensors[name] for update in updates.values()]
                mean[name] = sum(w * t for w, t in zip(weights, trained, strict=True)) / sum(weights)
                held = group.predictors(group.clients[0], number)["student"][name]
                torch.testing.assert_close(held, mean[name], rtol=1e-4, atol=1e-5)
            else:
                mean[name] = value
    assert len(set(weights)) > 1


def test_batch_counter_of_the_student_is_the_largest_since_the_start() -> None:
    """12, 20, 28, 36 images in batches of 4: 3, 5, 7, 9 batches a turn, each from the largest count before."""
    group = federation(mic(), training=Training(epochs=1, batch_size=4))
    counts = []
    for number, participating in enumerate([[0], [1, 2], [0], [3]]):
        group.round(number, participating)
        counts.append(int(group.predictors(group.clients[1], number)["student"]["norm.num_batches_tracked"]))
    assert counts == [3, 10, 13, 22]


def test_statistics_of_the_student_are_sent_exactly() -> None:
    group = federation(mic(), clients=1)
    group.round(0)
    start, held = initial(), group.predictors(group.clients[0], 0)["student"]
    for name in ("norm.running_mean", "norm.running_var"):
        torch.testing.assert_close(held[name], start[name] + group.received.tensors[name], rtol=0, atol=0)
        assert not torch.equal(held[name], start[name])


def test_client_keeps_its_teacher_and_nothing_of_the_student() -> None:
    group = federation(mic())
    updates = group.round(0)
    assert all(client.models.keys() == {"teacher"} for client in group.clients)
    assert updates[0].payload.tensors.keys() == initial().keys()


def test_unshared_pairs_learn_and_send_nothing() -> None:
    group = federation(mic(share=False))
    for number in range(2):
        assert all(update.payload is None for update in group.round(number).values())
    students = [group.predictors(client, 1)["student"]["head.weight"] for client in group.clients]
    assert not torch.equal(students[0], students[1])
    assert not torch.equal(students[0], initial()["head.weight"])


def test_literal_variant_sends_weights_in_both_directions() -> None:
    group = federation(mic(FedMICLiteral), compressor=Dense(), aggregator=Mean())
    for number in range(2):
        updates = group.round(number)
        weights = torch.tensor([update.num_examples for update in updates.values()])
        sent = torch.stack([update.payload.tensors["stem.weight"] for update in updates.values()])
        mean = (sent * weights.view(-1, 1, 1, 1, 1)).sum(0) / weights.sum()
        held = group.predictors(group.clients[0], number)["student"]
        torch.testing.assert_close(held["stem.weight"], mean)
        torch.testing.assert_close(held["stem.weight"], group.received.tensors["stem.weight"], rtol=0, atol=0)


def test_weights_are_more_bytes_than_deltas() -> None:
    training = Training(steps=2, batch_size=8)
    deltas = federation(mic(), clients=2, training=training)
    weights = federation(mic(FedMICLiteral), clients=2, aggregator=Mean(), training=training)
    for group in (deltas, weights):
        group.round(0)
    assert len(deltas.blobs[0]) < len(weights.blobs[0])


# predictions


def test_student_is_common_only_if_it_is_shared() -> None:
    """The teacher is the client's own and the headline; a student that is not shared is the client's own, too."""
    for share, own, common in ((True, ["teacher"], ["student"]), (False, ["teacher", "student"], [])):
        part, client, ctx = mic(share=share), toy_client(), toy_moment()
        part.setup(client, ctx)
        assert list(part.predictors(client, None, ctx)) == own
        assert list(part.global_predictors(None, client.backbone, ctx)) == common


# the method


def test_method_is_declared_a_reconstruction() -> None:
    for name in ("fedmic", "fedmic-literal"):
        method = registry().method(name)
        assert method.fidelity == "reconstruction"
        assert method.partial_participation
        assert method.mixed_backbones
    assert resolve(RunSpec(method="fedmic", fraction=0.3, clients=10)).aggregator == Mean(accumulate=True)
    assert resolve(RunSpec(method="fedmic-literal")).aggregator == Mean()


def test_literal_method_follows_the_captions() -> None:
    sites = [resolve(RunSpec(method=name)).local_update.aux_site for name in ("fedmic", "fedmic-literal")]
    assert sites == ["representation", "decision"]


def test_student_larger_than_the_teacher_is_noted() -> None:
    assert mic().check(toy_client(backbone="toy16"), toy_moment()) == []
    (note,) = mic().check(toy_client(backbone="toy8"), toy_moment())
    assert "student toy12" in note
    assert "teacher toy8" in note


@pytest.mark.parametrize(
    "settings",
    [
        {"set": {"local_update.aux_site": "decision"}},
        {"set": {"local_update.aux_site": "both", "local_update.temperature": 2}},
        {"set": {"compressor.rank_rule": "aicc"}},
        {"downlink": "dense"},
        {"set": {"local_update.adaptive": False}},
        {"set": {"aggregator.uniform": True}},
        {"set": {"local_update.representation": False, "local_update.decision": False}},
    ],
    ids=str,
)
def test_variant_is_a_request(settings) -> None:
    resolve(RunSpec(method="fedmic", **settings))


@pytest.mark.parametrize("option", ["aux_site", "temperature", "denominator_floor"])
def test_option_out_of_range_is_refused(option) -> None:
    with pytest.raises(RequestError, match=option):
        resolve(RunSpec(method="fedmic", set={f"local_update.{option}": -1}))
