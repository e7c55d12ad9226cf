from fedbench_core.testing import AggregatorContract, LocalUpdateContract, MethodContract


class TestScaffoldUpdate(LocalUpdateContract):
    name = "scaffold"


class TestScaffoldAggregator(AggregatorContract):
    name = "scaffold"


class TestScaffold(MethodContract):
    name = "scaffold"
