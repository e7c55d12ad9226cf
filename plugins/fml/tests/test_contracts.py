from typing import ClassVar

from fedbench_core.testing import LocalUpdateContract, MethodContract

MEME = "test_resnet"  # the default meme is made for real images and takes ten times as long


class TestFMLUpdate(LocalUpdateContract):
    name = "fml"
    options: ClassVar = {"meme": MEME}


class TestFML(MethodContract):
    name = "fml"
    options: ClassVar = {"local_update.meme": MEME}
