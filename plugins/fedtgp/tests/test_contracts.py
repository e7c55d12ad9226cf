from fedbench_core.testing import AggregatorContract, MethodContract


class TestTrainedPrototypes(AggregatorContract):
    name = "trained-prototypes"
    options = {"epochs": 3}  # noqa: RUF012  # read only


class TestFedTGP(MethodContract):
    name = "fedtgp"
    options = {"aggregator.epochs": 3}  # noqa: RUF012  # read only
