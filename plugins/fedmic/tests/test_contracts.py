from typing import ClassVar

import pytest

from fedbench_core.testing import LocalUpdateContract, MethodContract

STUDENT = "test_resnet"  # the default student is made for real images and takes ten times as long


class TestFedMICUpdate(LocalUpdateContract):
    name = "fedmic"
    options: ClassVar = {"student": STUDENT}


class TestFedMIC(MethodContract):
    name = "fedmic"
    options: ClassVar = {"local_update.student": STUDENT}


@pytest.mark.slow  # differs from FedMIC in its payloads only, which test_fedmic.py verifies
class TestFedMICLiteralUpdate(LocalUpdateContract):
    name = "fedmic-literal"
    options: ClassVar = {"student": STUDENT}
