from fedbench_core.testing import LocalUpdateContract, MethodContract

SMALL = "test_efficientnet"


class TestFedMRLUpdate(LocalUpdateContract):
    name = "fedmrl"
    options = {"small": SMALL}  # noqa: RUF012  # read only


class TestFedMRL(MethodContract):
    name = "fedmrl"
    options = {"local_update.small": SMALL}  # noqa: RUF012  # read only
