from fedbench_core.testing import LocalUpdateContract, MethodContract


class TestFedAvgUpdate(LocalUpdateContract):
    name = "fedavg"


class TestFineTunedUpdate(LocalUpdateContract):
    name = "fedavg-ft"


class TestFedAvg(MethodContract):
    name = "fedavg"


class TestFineTuned(MethodContract):
    name = "fedavg-ft"
