from fedbench_core.testing import LocalUpdateContract, MethodContract


class TestFedProxUpdate(LocalUpdateContract):
    name = "fedprox"


class TestFedProx(MethodContract):
    name = "fedprox"
