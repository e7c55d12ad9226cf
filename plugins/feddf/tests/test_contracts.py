from fedbench_core.testing import AggregatorContract, MethodContract


class TestEnsembleDistillation(AggregatorContract):
    name = "feddf"
    options = {"steps": 2, "batch_size": 8}  # noqa: RUF012  # read only


class TestFedDF(MethodContract):
    name = "feddf"
    options = {"aggregator.steps": 2, "aggregator.batch_size": 8}  # noqa: RUF012  # read only
