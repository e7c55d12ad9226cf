from typing import ClassVar

from fedbench_core.testing import LocalUpdateContract, MethodContract

STUDENT = "test_resnet"  # the default student is made for real images and takes ten times as long


class TestFedKDUpdate(LocalUpdateContract):
    name = "fedkd"
    options: ClassVar = {"student": STUDENT}


class TestFedKD(MethodContract):
    name = "fedkd"
    options: ClassVar = {"local_update.student": STUDENT}
