from fedbench_core.testing import AggregatorContract, LocalUpdateContract, MethodContract


class TestFedAMPUpdate(LocalUpdateContract):
    name = "fedamp"


class TestFedAMPAggregator(AggregatorContract):
    name = "fedamp"


class TestFedAMP(MethodContract):
    name = "fedamp"
