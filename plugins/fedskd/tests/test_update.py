import copy
from dataclasses import replace

import pytest
import torch

from fedbench_core.api import Payload, RequestError
from fedbench_core.learning import batches, similarity
from fedbench_fedskd import FedSKD

QUICK = FedSKD(warmup=0)


def visiting(at, owner="1", backbone="net6"):
    """A traveller that has been trained somewhere else."""
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
    def test_a_clone_of_the_warmed_resident_sets_out(self, host, at):
        client = host(QUICK)
        before = resident(client)
        reply = QUICK.train(client, None, at())
        assert reply.payload.meta == {"owner": "0", "backbone": "net4"}
        assert equal(dict(reply.payload.tensors), resident(client))
        assert not equal(before, resident(client))
        assert reply.weight == 16

    @pytest.mark.parametrize(("steps", "epochs", "taken"), [(2, 1, 2 + 3 * 2), (None, 2, (2 + 3) * 2)])
    def test_warm_up_epochs_come_before_the_usual_budget(self, host, at, steps, epochs, taken):
        ctx = at()
        ctx = replace(ctx, training=replace(ctx.training, steps=steps, epochs=epochs))
        update = FedSKD(warmup=3)
        client = host(update)  # 16 images in batches of 8
        assert update.train(client, None, ctx).metrics["steps"] == taken
        assert FedSKD(warmup=3).train(client, visiting(at), ctx).metrics["steps"] == 2 * (taken - 6)

    def test_clients_of_one_backbone_start_alike_and_as_local_does(self, host, at):
        assert equal(resident(host(QUICK)), state(at().build("net4")))


class TestHop:
    def step_by_hand(self, own, other, client, ctx, update, *, learns):
        """One step of plain gradient descent on own cross-entropy + L(own, sg(other))."""
        ((images, labels),) = batches(client, ctx)
        given, seen = own.outputs(images), other.outputs(images)
        loss = ctx.task.loss(given.logits, labels)
        if learns:
            loss = loss + sum(update.compare(given.maps, [map_.detach() for map_ in seen.maps]).values())
        loss.backward()
        assert all(p.grad is None for p in other.parameters())
        with torch.no_grad():
            for p in own.parameters():
                p.sub_(ctx.training.lr * p.grad)
        return state(own)

    @pytest.mark.parametrize("distil", ["both", "resident", "visitor", "none"])
    @pytest.mark.parametrize("layers", ["last", "stages"])
    def test_each_model_learns_from_its_own_loss_alone(self, host, at, distil, layers):
        update = FedSKD(distil=distil, layers=layers, ramp=False, strength=3.0)
        ctx = at(1, steps=1)
        ctx = replace(ctx, training=replace(ctx.training, momentum=0.0))
        client, received = host(update), visiting(at)
        pairs = {}
        for who in ("resident", "visitor"):
            home, guest = copy.deepcopy(client.models["resident"]), ctx.build("net6")
            received.load_into(guest)
            own, other = (home, guest) if who == "resident" else (guest, home)
            weighted = FedSKD(layers=layers, batch_weight=3 * 2.0, pixel_weight=3 * 3.0, region_weight=3 * 5.0)
            pairs[who] = self.step_by_hand(own, other, client, ctx, weighted, learns=distil in ("both", who))
        reply = update.train(client, received, ctx)
        for name, value in resident(client).items():
            assert torch.allclose(value, pairs["resident"][name], atol=1e-6), name
        for name, value in reply.payload.tensors.items():
            assert torch.allclose(value, pairs["visitor"][name], atol=1e-6), name

    def test_the_visitor_goes_on_under_its_owner_with_its_backbone(self, host, at):
        client = host(QUICK)
        received = visiting(at)
        kept = {name: value.clone() for name, value in received.tensors.items()}
        reply = QUICK.train(client, received, at(1))
        assert reply.payload.meta == {"owner": "1", "backbone": "net6"}
        assert equal(dict(received.tensors), kept)
        assert not equal(dict(reply.payload.tensors), kept)

    def test_distillation_changes_both(self, host, at):
        def after(update):
            client = host(update)
            reply = update.train(client, visiting(at), at(1))
            return resident(client), dict(reply.payload.tensors)

        alone = after(FedSKD(distil="none"))
        for distil, learns in {"both": (True, True), "resident": (True, False), "visitor": (False, True)}.items():
            changed = after(FedSKD(distil=distil, ramp=False))
            assert tuple(not equal(one, other) for one, other in zip(changed, alone, strict=True)) == learns

    def test_every_turn_reports_the_same(self, host, at):
        client = host(QUICK)
        first = QUICK.train(client, None, at()).metrics
        hop = QUICK.train(client, visiting(at), at(1)).metrics
        home = QUICK.train(client, visiting(at, "0", "net4"), at(2)).metrics
        names = {"loss", "visitor_loss", "similarity_batch", "similarity_pixel", "similarity_region", "steps"}
        assert set(first) == set(hop) == set(home) == names
        assert all(hop[name] > 0 for name in names)
        assert first["similarity_batch"] == 0  # the traveller is its resident's twin
        assert (first["steps"], hop["steps"]) == (2, 4)  # of one model, of two

    def test_lambda_grows_over_the_first_circle(self, host, at):
        flat = FedSKD(ramp=False)
        full = flat.train(host(flat), visiting(at), at(1, clients=4, steps=1)).metrics["similarity_pixel"]
        told = []
        for hops in range(6):
            client = host(QUICK)
            client.memory["hops"] = hops
            told.append(QUICK.train(client, visiting(at), at(1, clients=4, steps=1)).metrics["similarity_pixel"])
            assert client.memory["hops"] == hops + 1
        assert told == pytest.approx([full * share for share in (0.25, 0.5, 0.75, 1, 1, 1)])

    def test_batches_too_small_to_relate_are_learnt_from_alone(self, host, at):
        client = host(QUICK, images=3)
        told = QUICK.train(client, visiting(at), at(1)).metrics
        assert told["similarity_batch"] == told["similarity_pixel"] == told["similarity_region"] == 0
        assert told["loss"] > 0

    def test_four_images_are_enough(self, host, at):
        assert QUICK.train(host(QUICK, images=4), visiting(at), at(1)).metrics["similarity_batch"] > 0


class TestLevels:
    @pytest.mark.parametrize("level", ["batch", "pixel", "region"])
    def test_a_level_that_is_off_is_not_computed(self, host, at, level, monkeypatch):
        def never(*_args, **_options):
            raise AssertionError(level)

        monkeypatch.setattr(similarity, f"{level}_level", never)
        update = FedSKD(warmup=0, **{f"{level}_weight": 0.0})
        told = update.train(host(update), visiting(at), at(1)).metrics
        assert f"similarity_{level}" not in told
        assert len([name for name in told if name.startswith("similarity")]) == 2

    @pytest.mark.parametrize(
        "options",
        [{"distil": "none"}, {"strength": 0.0}, dict.fromkeys(("batch_weight", "pixel_weight", "region_weight"), 0.0)],
    )
    def test_without_distillation_maps_are_not_asked_for(self, host, at, options):
        update = FedSKD(warmup=0, **options)
        client = host(update, "point")
        assert update.check(client, at()) == ()
        told = update.train(client, visiting(at, backbone="point"), at(1)).metrics
        assert set(told) == {"loss", "visitor_loss", "steps"}

    def test_weights_multiply(self, at):
        first, second = (at().build(name).outputs(torch.rand(6, 1, 8, 8)).maps for name in ("net4", "net6"))
        plain = FedSKD(batch_weight=1, pixel_weight=1, region_weight=1).compare(first, second)
        assert plain["batch"] == similarity.batch_level(first[1], second[1])
        assert plain["pixel"] == similarity.pixel_level(first[1], second[1])
        assert plain["region"] == similarity.region_level(first[1], second[1])
        for level, weight in {"batch": 2, "pixel": 3, "region": 5}.items():
            assert torch.allclose(FedSKD().compare(first, second)[level], weight * plain[level])

    def test_stages_are_averaged(self, at):
        first, second = (at().build(name).outputs(torch.rand(6, 1, 8, 8)).maps for name in ("net4", "net6"))
        by_hand = [similarity.pixel_level(one, other) for one, other in zip(first, second, strict=True)]
        assert torch.allclose(FedSKD(layers="stages").compare(first, second)["pixel"], 3 * sum(by_hand) / 2)

    def test_variants_differ(self, at):
        first, second = (at().build(name).outputs(torch.rand(6, 1, 8, 8)).maps for name in ("net4", "net6"))
        usual = FedSKD().compare(first, second)
        assert torch.allclose(FedSKD(literal=True).compare(first, second)["batch"], usual["batch"] / 6)
        assert FedSKD(across="regions").compare(first, second)["region"] != usual["region"]
        assert FedSKD(regions=3).compare(first, second)["region"] != usual["region"]


class TestHomecoming:
    def turn(self, host, at, update, backbone="net4"):
        client = host(update, backbone)
        before, received = resident(client), visiting(at, "0", backbone)
        ctx = replace(at(1), training=replace(at(1).training, lr=1e-9))  # training aside
        reply = update.train(client, received, ctx)
        assert equal(dict(reply.payload.tensors), resident(client))  # a new circle starts with a clone
        assert reply.payload.meta["owner"] == "0"
        return before, received.tensors, resident(client)

    @pytest.mark.parametrize("merge_at", ["arrival", "departure"])
    @pytest.mark.parametrize(("merge", "share"), [("distil", 0.0), ("average", 0.5), ("replace", 1.0)])
    def test_merge(self, host, at, merge, share, merge_at):
        before, received, after = self.turn(host, at, FedSKD(merge=merge, merge_at=merge_at))
        for name in ("head.weight", "stem.bias"):
            assert torch.allclose(after[name], torch.lerp(before[name], received[name], share), atol=1e-6)
        assert after["norm.num_batches_tracked"] == 2

    def test_averages_take_the_larger_counter(self, host, at):
        update = FedSKD(merge="average", merge_at="departure")
        client, received = host(update), visiting(at, "0", "net4")
        received.tensors["norm.num_batches_tracked"].fill_(40)
        update.train(client, received, at(1))
        assert resident(client)["norm.num_batches_tracked"] == 42

    def test_at_arrival_the_merged_model_trains_as_after_a_first_turn(self, host, at):
        update = FedSKD(merge="replace", merge_at="arrival", warmup=4)
        client, received = host(update), visiting(at, "0", "net4")
        told = update.train(client, received, at(1)).metrics
        other = host(update)
        received.load_into(other.models["resident"])
        FedSKD(warmup=0).train(other, None, at(1))
        assert equal(resident(client), resident(other))
        assert told["steps"] == 2

    def test_at_departure_both_have_trained_before_they_are_merged(self, host, at):
        guest, home = FedSKD(merge="distil"), FedSKD(merge="average")
        clients = [host(guest), host(home)]
        said = guest.train(clients[0], visiting(at, "5", "net4"), at(1)).payload.tensors
        home.train(clients[1], visiting(at, "0", "net4"), at(1))
        trained, merged = map(resident, clients)
        for name in ("head.weight", "norm.running_var"):
            assert torch.allclose(merged[name], torch.lerp(trained[name], said[name], 0.5), atol=1e-6)
            assert not torch.allclose(merged[name], trained[name], atol=1e-4)

    def test_statistics_that_came_home_do_not_set_out_again(self, host, at):
        self.turn(host, at, FedSKD(visitor_bn="home"))

    def test_distil_is_the_hop_itself(self, host, at):
        update = FedSKD(ramp=False, merge="distil")
        client, received = host(update), visiting(at, "0", "net4")
        update.train(client, received, at(1))
        other = host(update)
        update.train(other, visiting(at, "5", "net4"), at(1))
        assert equal(resident(client), resident(other))

    def test_nobody_else_is_merged_with(self, host, at):
        update, other = FedSKD(merge="replace", ramp=False), FedSKD(merge="distil", ramp=False)
        clients = [host(update), host(other)]
        for part, client in zip((update, other), clients, strict=True):
            part.train(client, visiting(at, "1", "net4"), at(1))
        assert equal(*map(resident, clients))


class TestStatistics:
    def test_own_are_of_all_hosts_and_home_as_they_left(self, host, at):
        for kept, update in {False: QUICK, True: FedSKD(visitor_bn="home")}.items():
            received = visiting(at)
            said = update.train(host(update), received, at(1)).payload.tensors
            for name in ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked"):
                assert torch.equal(said[name], received.tensors[name]) == kept
            assert not torch.equal(said["norm.weight"], received.tensors["norm.weight"])


class TestInspect:
    def test_says_which_stage(self, host, at):
        assert QUICK.check(host(QUICK), at()) == ("fedskd compares net4 at stage 2 of 2, a map of 6 x 4 x 4.",)
        stages = FedSKD(layers="stages")
        assert stages.check(host(stages), at()) == ("fedskd compares net4 at stages up to 2 of 2, a map of 6 x 4 x 4.",)

    def test_refuses_maps_without_locations(self, host, at):
        with pytest.raises(RequestError, match=r"fedskd cannot compare dull4: its maps have 3 x 3, 3 x 3 locations"):
            QUICK.check(host(QUICK, "dull4"), at())

    def test_refuses_regions_that_are_locations(self, host, at):
        update = FedSKD(across="regions", regions=4)
        with pytest.raises(RequestError, match=r"fedskd cannot compare net4: .*single locations"):
            update.check(host(update), at())


class TestPredictors:
    def test_the_resident_is_the_headline(self, host, at):
        client = host(QUICK)
        assert QUICK.predictors(client, visiting(at), at()) == {"resident": client.models["resident"]}

    def test_visitors_on_request(self, host, at):
        update = FedSKD(score_visitors=True)
        client, received = host(update), visiting(at)
        shown = update.predictors(client, received, at())
        assert list(shown) == ["resident", "visitor"]
        assert equal(state(shown["visitor"]), dict(received.tensors))
        assert update.predictors(client, None, at())["visitor"] is client.models["resident"]


def test_a_turn_can_be_repeated_to_the_bit(host, at):
    def turn():
        client = host(QUICK)
        QUICK.train(client, None, at())
        reply = QUICK.train(client, visiting(at), at(1))
        return reply.payload.to_bytes(), Payload(resident(client)).to_bytes()

    assert turn() == turn()


def test_similarity_falls_where_models_learn_from_each_other(federation):
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

    plain = FedSKD(warmup=0, merge="distil", distil="none")  # a mean with one's traveller brings models closer too
    assert last(replace(plain, distil="both")) < 0.7 * last(plain)
