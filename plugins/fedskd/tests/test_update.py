import copy
from dataclasses import replace

import pytest
import torch

from fedbench_core.api import Payload, RequestError
from fedbench_core.learning import batches, fit, similarity
from fedbench_core.registry import registry
from fedbench_fedskd import FedSKD

QUICK = FedSKD(warmup=0)


def visitor_of(at, owner="1", backbone="net6"):
    """A traveler that has been trained elsewhere."""
    net = at().build(backbone, "elsewhere")
    return Payload(
        {name: value.clone() for name, value in net.state_dict().items()}, {"owner": owner, "backbone": backbone}
    )


def state(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def resident(client):
    return state(client.models["resident"])


class TestFirstTurn:
    def test_clone_of_the_trained_resident_is_sent(self, host, at):
        client = host(QUICK, turns=0)
        before = resident(client)
        update = QUICK.train(client, None, at())
        assert update.payload.meta == {"owner": "0", "backbone": "net4"}
        assert equal(dict(update.payload.tensors), resident(client))
        assert not equal(before, resident(client))
        assert update.num_examples == 16

    @pytest.mark.parametrize(("steps", "epochs", "taken"), [(2, 1, 2 + 3 * 2), (None, 2, (2 + 3) * 2)])
    def test_warm_up_is_added_to_the_local_budget(self, host, at, steps, epochs, taken):
        ctx = at()
        ctx = replace(ctx, training=replace(ctx.training, steps=steps, epochs=epochs))
        update = FedSKD(warmup=3)
        client = host(update)  # 16 images in batches of 8
        assert update.train(client, None, ctx).metrics["steps"] == taken
        assert FedSKD(warmup=3).train(client, visitor_of(at), ctx).metrics["steps"] == 2 * (taken - 6)

    def test_resident_starts_with_the_initial_weights_of_its_backbone(self, host, at):
        assert equal(resident(host(QUICK)), state(at().build("net4")))


class TestHop:
    def step_by_hand(self, own, other, client, ctx, update, *, learns):
        """One step of gradient descent on the cross-entropy of `own` + L(own, other), where `other` is constant."""
        (batch,) = batches(client.train, ctx)
        outputs, fixed = own.outputs(batch.images), other.outputs(batch.images)
        loss = ctx.task.loss(outputs.logits, batch.labels)
        if learns:
            loss = loss + sum(update.compare(outputs.maps, [map_.detach() for map_ in fixed.maps]).values())
        loss.backward()
        assert all(p.grad is None for p in other.parameters())
        with torch.no_grad():
            for p in own.parameters():
                p.sub_(ctx.training.lr * p.grad)
        return state(own)

    @pytest.mark.parametrize("distil", ["both", "resident", "visitor", "none"])
    @pytest.mark.parametrize("layers", ["last", "stages"])
    def test_step_equals_that_by_hand(self, host, at, distil, layers):
        update = FedSKD(distil=distil, layers=layers, ramp=False, strength=3.0)
        ctx = at(1, steps=1)
        ctx = replace(ctx, training=replace(ctx.training, momentum=0.0))
        client, received = host(update), visitor_of(at)
        pairs = {}
        for who in ("resident", "visitor"):
            home, guest = copy.deepcopy(client.models["resident"]), ctx.build("net6")
            received.load_into(guest)
            own, other = (home, guest) if who == "resident" else (guest, home)
            weighted = FedSKD(layers=layers, batch_weight=3 * 2.0, pixel_weight=3 * 3.0, region_weight=3 * 5.0)
            pairs[who] = self.step_by_hand(own, other, client, ctx, weighted, learns=distil in ("both", who))
        sent = update.train(client, received, ctx)
        for name, value in resident(client).items():
            assert torch.allclose(value, pairs["resident"][name], atol=1e-6), name
        for name, value in sent.payload.tensors.items():
            assert torch.allclose(value, pairs["visitor"][name], atol=1e-6), name

    def test_visitor_is_sent_on_with_its_owner_and_backbone(self, host, at):
        client = host(QUICK)
        received = visitor_of(at)
        kept = {name: value.clone() for name, value in received.tensors.items()}
        sent = QUICK.train(client, received, at(1))
        assert sent.payload.meta == {"owner": "1", "backbone": "net6"}
        assert equal(dict(received.tensors), kept)
        assert not equal(dict(sent.payload.tensors), kept)

    def test_metrics_have_the_same_names_in_every_turn(self, host, at):
        client = host(QUICK)
        first = QUICK.train(client, None, at()).metrics
        hop = QUICK.train(client, visitor_of(at), at(1)).metrics
        home = QUICK.train(client, visitor_of(at, "0", "net4"), at(2)).metrics
        names = {"loss", "visitor_loss", "similarity_batch", "similarity_pixel", "similarity_region", "steps"}
        assert set(first) == set(hop) == set(home) == names
        assert all(hop[name] > 0 for name in names)
        assert first["similarity_batch"] == 0  # the traveler is a clone of its resident
        assert (first["steps"], hop["steps"]) == (2, 4)  # of one model, of two

    def test_lambda_grows_over_the_first_circle(self, host, at):
        flat = FedSKD(ramp=False)
        full = flat.train(host(flat), visitor_of(at), at(1, clients=4, steps=1)).metrics["similarity_pixel"]
        ramp = []
        for turns in range(1, 7):
            client = host(QUICK, turns=turns)
            ramp.append(QUICK.train(client, visitor_of(at), at(1, clients=4, steps=1)).metrics["similarity_pixel"])
        assert ramp == pytest.approx([full * share for share in (0.25, 0.5, 0.75, 1, 1, 1)])

    def test_batches_of_three_images_are_not_compared(self, host, at):
        metrics = QUICK.train(host(QUICK, images=3), visitor_of(at), at(1)).metrics
        assert metrics["similarity_batch"] == metrics["similarity_pixel"] == metrics["similarity_region"] == 0
        assert metrics["loss"] > 0

    def test_batches_of_four_images_are_compared(self, host, at):
        assert QUICK.train(host(QUICK, images=4), visitor_of(at), at(1)).metrics["similarity_batch"] > 0


class TestLevels:
    @pytest.mark.parametrize("level", ["batch", "pixel", "region"])
    def test_level_with_weight_0_is_not_computed(self, host, at, level, monkeypatch):
        def never(*_args, **_options):
            raise AssertionError(level)

        monkeypatch.setattr(similarity, f"{level}_level", never)
        update = FedSKD(warmup=0, **{f"{level}_weight": 0.0})
        metrics = update.train(host(update), visitor_of(at), at(1)).metrics
        assert f"similarity_{level}" not in metrics
        assert len([name for name in metrics if name.startswith("similarity")]) == 2

    @pytest.mark.parametrize(
        "options",
        [{"distil": "none"}, {"strength": 0.0}, dict.fromkeys(("batch_weight", "pixel_weight", "region_weight"), 0.0)],
    )
    def test_maps_are_not_needed_without_distillation(self, host, at, options):
        update = FedSKD(warmup=0, **options)
        client = host(update, "point")
        assert update.check(client, at()) == ()
        metrics = update.train(client, visitor_of(at, backbone="point"), at(1)).metrics
        assert set(metrics) == {"loss", "visitor_loss", "steps"}

    def test_losses_are_multiplied_by_their_weights(self, at):
        first, second = (at().build(name).outputs(torch.rand(6, 1, 8, 8)).maps for name in ("net4", "net6"))
        plain = FedSKD(batch_weight=1, pixel_weight=1, region_weight=1).compare(first, second)
        assert plain["batch"] == similarity.batch_level(first[1], second[1])
        assert plain["pixel"] == similarity.pixel_level(first[1], second[1])
        assert plain["region"] == similarity.region_level(first[1], second[1])
        for level, weight in {"batch": 2, "pixel": 3, "region": 5}.items():
            assert torch.allclose(FedSKD().compare(first, second)[level], weight * plain[level])

    def test_losses_of_stages_are_averaged(self, at):
        first, second = (at().build(name).outputs(torch.rand(6, 1, 8, 8)).maps for name in ("net4", "net6"))
        by_hand = [similarity.pixel_level(one, other) for one, other in zip(first, second, strict=True)]
        assert torch.allclose(FedSKD(layers="stages").compare(first, second)["pixel"], 3 * sum(by_hand) / 2)

    def test_variants_change_the_losses(self, at):
        first, second = (at().build(name).outputs(torch.rand(6, 1, 8, 8)).maps for name in ("net4", "net6"))
        usual = FedSKD().compare(first, second)
        assert torch.allclose(FedSKD(literal=True).compare(first, second)["batch"], usual["batch"] / 6)
        assert FedSKD(across="regions").compare(first, second)["region"] != usual["region"]
        assert FedSKD(regions=3).compare(first, second)["region"] != usual["region"]


class TestReturn:
    def turn(self, host, at, update, backbone="net4"):
        client = host(update, backbone)
        before, received = resident(client), visitor_of(at, "0", backbone)
        ctx = replace(at(1), training=replace(at(1).training, lr=1e-9))  # training changes nothing
        sent = update.train(client, received, ctx)
        assert equal(dict(sent.payload.tensors), resident(client))  # a new circle starts with a clone
        assert sent.payload.meta["owner"] == "0"
        return before, received.tensors, resident(client)

    @pytest.mark.parametrize("merge_at", ["arrival", "departure"])
    @pytest.mark.parametrize(("merge", "share"), [("distil", 0.0), ("average", 0.5), ("replace", 1.0)])
    def test_resident_becomes_the_share_of_its_traveler(self, host, at, merge, share, merge_at):
        before, received, after = self.turn(host, at, FedSKD(merge=merge, merge_at=merge_at))
        for name in ("head.weight", "stem.bias"):
            assert torch.allclose(after[name], torch.lerp(before[name], received[name], share), atol=1e-6)
        assert after["norm.num_batches_tracked"] == 2

    def test_batch_counter_of_an_average_is_the_larger(self, host, at):
        update = FedSKD(merge="average", merge_at="departure")
        client, received = host(update), visitor_of(at, "0", "net4")
        received.tensors["norm.num_batches_tracked"].fill_(40)
        update.train(client, received, at(1))
        assert resident(client)["norm.num_batches_tracked"] == 42

    def test_resident_merged_at_arrival_trains_alone(self, host, at):
        update = FedSKD(merge="replace", merge_at="arrival", warmup=4)
        client, received = host(update), visitor_of(at, "0", "net4")
        metrics = update.train(client, received, at(1)).metrics
        other = host(update)
        received.load_into(other.models["resident"])
        FedSKD(warmup=0).train(other, None, at(1))
        assert equal(resident(client), resident(other))
        assert metrics["steps"] == 2

    def test_models_merged_at_departure_have_trained_before(self, host, at):
        guest, home = FedSKD(merge="distil"), FedSKD(merge="average")
        clients = [host(guest), host(home)]
        sent = guest.train(clients[0], visitor_of(at, "5", "net4"), at(1)).payload.tensors
        home.train(clients[1], visitor_of(at, "0", "net4"), at(1))
        trained, merged = map(resident, clients)
        for name in ("head.weight", "norm.running_var"):
            assert torch.allclose(merged[name], torch.lerp(trained[name], sent[name], 0.5), atol=1e-6)
            assert not torch.allclose(merged[name], trained[name], atol=1e-4)

    def test_statistics_of_a_returned_traveler_are_not_sent_again(self, host, at):
        self.turn(host, at, FedSKD(visitor_bn="home"))

    def test_merge_by_distillation_is_an_ordinary_hop(self, host, at):
        update = FedSKD(ramp=False, merge="distil")
        client, received = host(update), visitor_of(at, "0", "net4")
        update.train(client, received, at(1))
        other = host(update)
        update.train(other, visitor_of(at, "5", "net4"), at(1))
        assert equal(resident(client), resident(other))

    def test_travelers_of_others_are_not_merged(self, host, at):
        update, other = FedSKD(merge="replace", ramp=False), FedSKD(merge="distil", ramp=False)
        clients = [host(update), host(other)]
        for part, client in zip((update, other), clients, strict=True):
            part.train(client, visitor_of(at, "1", "net4"), at(1))
        assert equal(*map(resident, clients))


class TestVisitorThatTeaches:
    UPDATE = FedSKD(warmup=0, merge="distil", train_visitor=False)

    def test_visitor_travels_on_as_it_came(self, host, at):
        received = visitor_of(at)
        update = self.UPDATE.train(host(self.UPDATE), received, at(1))
        assert equal(dict(update.payload.tensors), dict(received.tensors))
        assert update.metrics["steps"] == 2

    def test_resident_learns_from_it(self, host, at):
        alone = FedSKD(warmup=0, merge="distil", train_visitor=False, distil="none")
        clients = [host(self.UPDATE), host(alone)]
        metrics = self.UPDATE.train(clients[0], visitor_of(at), at(1)).metrics
        alone.train(clients[1], visitor_of(at), at(1))
        assert not equal(*map(resident, clients))
        assert metrics["similarity_batch"] > 0
        assert metrics["visitor_loss"] > 0

    def test_without_distillation_the_resident_trains_alone(self, host, at):
        alone = FedSKD(warmup=0, merge="distil", train_visitor=False, distil="none")
        client, other = host(alone), host(alone)
        alone.train(client, visitor_of(at), at(1))
        fit(other.models["resident"], other.train, at(1))
        assert equal(resident(client), resident(other))

    @pytest.mark.parametrize("options", [{}, {"merge": "average"}, {"merge": "distil", "distil": "visitor"}])
    def test_what_would_undo_training_is_refused(self, host, at, options):
        update = FedSKD(train_visitor=False, **options)
        with pytest.raises(RequestError, match=r"merge=distil") as error:
            update.check(host(update), at())
        assert error.value.exit_code == 2


def test_default_returns_the_traveler_and_a_method_of_ours_averages():
    assert FedSKD().merge == "replace"
    assert registry().method("fedskd").options == {}
    assert registry().method("fedskd-average").options == {"local_update": {"merge": "average"}}


class TestStatistics:
    def test_statistics_of_a_visitor_follow_its_hosts_or_stay(self, host, at):
        for kept, update in {False: QUICK, True: FedSKD(visitor_bn="home")}.items():
            received = visitor_of(at)
            sent = update.train(host(update), received, at(1)).payload.tensors
            for name in ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked"):
                assert torch.equal(sent[name], received.tensors[name]) == kept
            assert not torch.equal(sent["norm.weight"], received.tensors["norm.weight"])


class TestCheck:
    def test_note_names_the_stage(self, host, at):
        assert QUICK.check(host(QUICK), at()) == ("fedskd compares net4 at stage 2 of 2, a map of 6 x 4 x 4.",)
        stages = FedSKD(layers="stages")
        assert stages.check(host(stages), at()) == ("fedskd compares net4 at stages up to 2 of 2, a map of 6 x 4 x 4.",)

    def test_maps_without_locations_are_refused(self, host, at):
        with pytest.raises(RequestError, match=r"dull4.*3 x 3, 3 x 3"):
            QUICK.check(host(QUICK, "dull4"), at())

    def test_regions_that_are_locations_are_refused(self, host, at):
        update = FedSKD(across="regions", regions=4)
        with pytest.raises(RequestError, match=r"net4.*4 x 4 regions"):
            update.check(host(update), at())


class TestPredictors:
    def test_resident_is_the_headline(self, host, at):
        client = host(QUICK)
        assert QUICK.predictors(client, visitor_of(at), at()) == {"resident": client.models["resident"]}

    def test_visitors_are_scored_on_request(self, host, at):
        update = FedSKD(score_visitors=True)
        client, received = host(update), visitor_of(at)
        nets = update.predictors(client, received, at())
        assert list(nets) == ["resident", "visitor"]
        assert equal(state(nets["visitor"]), dict(received.tensors))
        assert update.predictors(client, None, at())["visitor"] is client.models["resident"]


def test_models_that_learn_from_each_other_become_more_similar(federation):
    def last(update):
        ring = federation(update, ["net4", "net6", "net4"], steps=4, images=24)
        for _ in range(7):
            ring.round()
        measure = FedSKD()
        images, _ = ring.clients[0].train.tensors()
        nets = [client.models["resident"].eval() for client in ring.clients.values()]
        with torch.no_grad():
            maps = [net.outputs(images).maps for net in nets]
            return float(sum(measure.compare(maps[0], maps[1]).values()))

    plain = FedSKD(warmup=0, merge="distil", distil="none")  # an average brings models closer, too
    assert last(replace(plain, distil="both")) < 0.7 * last(plain)
