from fedbench_core.testing import LocalUpdateContract, MethodContract


class TestMoonUpdate(LocalUpdateContract):
    name = "moon"
    options = {"size": 8}  # noqa: RUF012  # read only


class TestMoon(MethodContract):
    name = "moon"
    options = {"local_update.size": 16}  # noqa: RUF012  # read only
