from fedbench_core.testing import LocalUpdateContract, MethodContract


class TestLGFedAvgUpdate(LocalUpdateContract):
    name = "lg-fedavg"


class TestLGFedAvg(MethodContract):
    name = "lg-fedavg"
