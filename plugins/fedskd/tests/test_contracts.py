from fedbench_core.testing import LocalUpdateContract, MethodContract


class TestLocalUpdate(LocalUpdateContract):
    name = "fedskd"


class TestMethod(MethodContract):
    name = "fedskd"
