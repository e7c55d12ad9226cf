from fedbench_core.testing import AggregatorContract, LocalUpdateContract, MethodContract


class TestFedProtoUpdate(LocalUpdateContract):
    name = "fedproto"


class TestClassMeans(AggregatorContract):
    name = "class-means"


class TestFedProto(MethodContract):
    name = "fedproto"
