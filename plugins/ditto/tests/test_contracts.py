from fedbench_core.testing import LocalUpdateContract, MethodContract


class TestDittoUpdate(LocalUpdateContract):
    name = "ditto"


class TestDitto(MethodContract):
    name = "ditto"
