from fedbench_core.testing import LocalUpdateContract, MethodContract


class TestFedBNUpdate(LocalUpdateContract):
    name = "fedbn"


class TestFedBN(MethodContract):
    name = "fedbn"
