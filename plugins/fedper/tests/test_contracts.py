from fedbench_core.testing import LocalUpdateContract, MethodContract


class TestFedPerUpdate(LocalUpdateContract):
    name = "fedper"


class TestFedRepUpdate(LocalUpdateContract):
    name = "fedrep"


class TestFedPer(MethodContract):
    name = "fedper"


class TestFedRep(MethodContract):
    name = "fedrep"
