from fedbench_core.testing import LocalUpdateContract, MethodContract


class TestFDUpdate(LocalUpdateContract):
    name = "fd"


class TestFD(MethodContract):
    name = "fd"
