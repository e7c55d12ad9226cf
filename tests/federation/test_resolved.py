import pytest

from fedbench_core.api import RequestError, RunError
from fedbench_core.federation.assembly import resolve


@pytest.fixture
def refused(spec):
    """The sentence with which a request is refused."""

    def ask(method="fedavg", **settings):
        with pytest.raises(RequestError) as caught:
            resolve(spec(method, **settings))
        return str(caught.value)

    return ask


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"method": "fedavgg"}, ["No method named 'fedavgg'", "Did you mean 'fedavg'", "fedprox"]),
        ({"partitioner": "dirichle"}, ["No partitioner named 'dirichle'", "Did you mean 'dirichlet'", "shards"]),
        ({"aggregator": "meen"}, ["No aggregator named 'meen'", "Did you mean 'mean'", "relay"]),
        ({"compressor": "halff"}, ["No compressor named 'halff'", "Did you mean 'half'", "dense"]),
        ({"downlink": "sparse"}, ["No compressor named 'sparse'", "dense"]),
        ({"topology": "rings"}, ["No topology named 'rings'", "Did you mean 'ring'", "star"]),
        ({"dataset": "phantoms"}, ["No dataset named 'phantoms'", "Did you mean 'phantom'", "breastmnist"]),
        ({"backbones": "resnet19"}, ["No backbone named 'resnet19'", "'resnet1"]),
        ({"partitioner.alfa": 1}, ["No option of partitioner 'dirichlet' named 'alfa'", "Did you mean 'alpha'"]),
        ({"partitoner.alpha": 1}, ["No part named 'partitoner'", "Did you mean 'partitioner'", "PART.OPTION=VALUE"]),
        ({"partitioner.": 1}, ["PART.OPTION=VALUE; got 'partitioner.'"]),
        ({"partitioner.alpha": -1}, ["'dirichlet' does not accept alpha=-1", "a number >= 0.0001"]),
        ({"partitioner.alpha": "much"}, ["'dirichlet' does not accept alpha=much", "a number"]),
        ({"method": "fedprox", "local_update.mu": -0.1}, ["does not accept mu=-0.1", "a number >= 0"]),
        ({"topology.hops": 2}, ["No option of topology 'star' named 'hops'"]),
        ({"backbones": "resnet18", "backbone.stem": "tall"}, ["stem=tall", "one of auto, timm, small"]),
        ({"downlink.keep": 0.5}, ["no downlink of its own"]),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(refused, asked, says) -> None:
    sentence = refused(**asked)
    for words in says:
        assert words in sentence


def test_mixed_backbones_are_refused_with_the_methods_that_can(refused) -> None:
    sentence = refused("fedavg", backbones="tiny,wide")
    assert "fedavg needs one backbone for all clients; got tiny, wide." in sentence
    assert "Use --backbones tiny, or a method for mixed backbones:" in sentence
    assert "local" in sentence.partition("mixed backbones:")[2]
    assert "fedprox" not in sentence


def test_mixed_backbones_are_dealt_in_turn_where_the_method_can(spec) -> None:
    setting = resolve(spec("local", backbones="tiny,wide", clients=3))
    assert [setting.backbone(client) for client in range(3)] == ["tiny", "wide", "tiny"]


def test_one_backbone_twice_is_not_mixed(spec) -> None:
    assert resolve(spec("fedavg", backbones="tiny,tiny")).spec.backbones == ("tiny", "tiny")


def test_more_kinds_of_backbone_than_clients_are_refused(refused) -> None:
    assert "lists 3 for 2 clients" in refused("local", backbones="tiny,wide,plain", clients=2)


@pytest.mark.parametrize("absence", [{"fraction": 0.5}, {"dropout": 0.1}])
def test_a_method_that_needs_everyone_refuses_absence(refused, spec, absence) -> None:
    sentence = refused("kit-whole", **absence)
    assert "kit-whole needs every client in every round" in sentence
    assert "Leave both out." in sentence
    resolve(spec("kit-whole"))
    resolve(spec("fedavg", **absence))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"topology": "ring"}, "topology star; got ring"),
        ({"aggregator.uniform": True}, "aggregator.uniform False; got True"),
    ],
    ids=str,
)
def test_what_a_method_cannot_do_without_is_not_swapped(change, told, refused, spec) -> None:
    assert told in refused("kit-pinned", **change)
    resolve(spec("kit-pinned", **{"aggregator.uniform": False}))


def test_an_option_that_is_pinned_exists(refused) -> None:
    sentence = refused("kit-mispinned")
    assert "No option of aggregator 'mean' named 'unifrom'. Did you mean 'uniform'?" in sentence
    assert "The method kit-mispinned pins it." in sentence


def test_relay_on_a_star_is_refused_with_what_to_type(refused, spec) -> None:
    sentence = refused("fedavg", aggregator="relay")
    assert "relay takes one message per node, but topology star sends 3 to the server" in sentence
    assert "--aggregator mean" in sentence
    resolve(spec("fedavg", aggregator="relay", topology="ring"))
    resolve(spec("fedavg", aggregator="relay", clients=1))


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("topology.to", 99, "client 0 is to send to node 99, which does not exist"),
        ("topology.source", 0, "client 1 receives from neither"),
    ],
)
def test_a_topology_that_plans_what_cannot_be_is_to_blame(spec, option, value, says) -> None:
    with pytest.raises(RunError, match=rf"topology kit-lost of fedbench-kit 1\.0: {says}"):
        resolve(spec("fedavg", topology="kit-lost", **{option: value}))


def test_a_methods_options_hold_for_its_own_parts_only(spec) -> None:
    own = resolve(spec("kit-thrifty"))
    assert (own.spec.compressor, own.spec.set["compressor.keep"]) == ("kit-top", 0.25)
    asked = resolve(spec("kit-thrifty", **{"compressor.keep": 0.5}))
    assert asked.spec.set["compressor.keep"] == 0.5
    named = resolve(spec("kit-thrifty", compressor="kit-top"))
    assert named.spec.set["compressor.keep"] == 0.25
    swapped = resolve(spec("kit-thrifty", compressor="half"))
    assert not [key for key in swapped.spec.set if key.startswith("compressor")]


def test_a_swapped_compressor_takes_the_methods_downlink_with_it(spec) -> None:
    assert resolve(spec("kit-asymmetric")).spec.downlink == "half"
    swapped = resolve(spec("kit-asymmetric", compressor="dense"))
    assert swapped.spec.downlink is None
    assert swapped.downlink is swapped.compressor
    assert resolve(spec("kit-asymmetric", compressor="dense", downlink="half")).spec.downlink == "half"


def test_a_resolved_spec_names_every_part_and_option_and_resolves_to_itself(spec) -> None:
    first = resolve(spec("fedavg", backbones="mobilenetv3", **{"partitioner.alpha": "2"})).spec
    assert (first.aggregator, first.compressor, first.topology) == ("mean", "dense", "star")
    assert first.backbones == ("mobilenetv3_small_100",)
    assert first.set["partitioner.alpha"] == 2.0
    assert first.set["aggregator.uniform"] is False
    assert resolve(first).spec == first


def test_writing_a_default_out_is_the_same_run(spec) -> None:
    plain = resolve(spec("fedavg")).spec
    spelt = resolve(spec("fedavg", topology="star", aggregator="mean", **{"partitioner.alpha": "1.0"})).spec
    assert plain.digest == spelt.digest


def test_rate_is_that_of_the_optimizer_unless_it_is_given(spec) -> None:
    rates = [resolve(spec("fedavg", **settings)).spec.lr for settings in ({"optimizer": "adam"}, {}, {"lr": 0.5})]
    assert rates == [0.002, 0.02, 0.5]
    scaffold = resolve(spec("scaffold")).spec
    assert (scaffold.optimizer, scaffold.momentum, scaffold.lr) == ("sgd", 0.0, 0.02)
    assert resolve(spec("scaffold", lr=0.002)).spec.lr == 0.002


def test_centralized_trains_one_client(spec) -> None:
    assert resolve(spec("centralized", clients=3)).trained == 1
    assert resolve(spec("local", clients=3)).trained == 3


def test_a_plugin_does_not_take_timms_place(refused, distribution) -> None:
    distribution(
        "fedbench-taker",
        "from fedbench_core.api import hookimpl\n"
        "@hookimpl\ndef fedbench_register_backbones(): return {'resnet18': lambda: None}",
    )
    sentence = refused("local", backbones="resnet18")
    assert "'resnet18' is one of timm's, and fedbench-taker registers the same name" in sentence
    assert "Uninstall fedbench-taker" in sentence
