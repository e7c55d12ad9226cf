import pytest

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.mark.parametrize("kind", ["compressors", "local-updates", "datasets", "methods"])
def test_list_tells_names_and_what_they_are(cli, kind):
    summaries = {
        "compressors": {"test-thin": "Keeps every n-th entry.", "test-twice": "Says everything twice."},
        "local-updates": {"test-twice": "Says everything twice."},
        "datasets": {"test-file": "One file."},
        "methods": {"test-method": "Thin federations.", "test-halfway": ""},
    }
    result = cli("list", kind, "test-*")
    assert (result.exit_code, result.stderr) == (0, "")
    heading, *lines = result.stdout.splitlines()
    assert heading.startswith("name")
    assert len(lines) == len(summaries[kind])
    for name, summary in summaries[kind].items():
        (line,) = [line for line in lines if line.startswith(name)]
        assert summary in line
        assert "fedbench-test" in line


def test_list_as_json(cli_json):
    assert cli_json("list", "compressors", "test-*") == [
        {
            "name": "test-thin",
            "summary": "Keeps every n-th entry.",
            "options": ["every", "side", "soft", "cap"],
            "distribution": "fedbench-test",
        },
        {"name": "test-twice", "summary": "Says everything twice.", "options": [], "distribution": "fedbench-test"},
    ]
    methods = {entry["name"]: entry for entry in cli_json("list", "methods")}
    assert methods["test-method"]["mixed_backbones"] is True
    assert methods["test-method"]["partial_participation"] is True
    assert methods["test-halfway"]["mixed_backbones"] is False


def test_a_pattern_without_a_match_is_a_wrong_request(cli):
    result = cli("list", "compressors", "test-thim")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "No compressor named 'test-thim'. Did you mean 'test-thin'" in result.stderr


def test_an_unknown_kind_is_a_wrong_request(cli):
    result = cli("list", "compresors")
    assert result.exit_code == 2
    assert "compressors" in result.stderr


def test_show_a_part(cli):
    result = cli("show", "test-thin")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines == [
        "compressor test-thin, from fedbench-test 4.5",
        "",
        "Keeps every n-th entry.",
        "",
        "The rest is gone.",
        "",
        "option default accepts meaning",
        "every 2 a whole number >= 1 stride",
        "side left one of left, right",
        "soft false true or false",
        "cap none a number or none",
        "",
        "Set with --set compressor.every=VALUE",
    ]


def test_show_a_required_option(cli):
    assert "path    required  text     which" in cli("show", "test-file").stdout


def test_show_what_a_part_declares(cli, cli_json):
    assert "takes: one\nstreaming: yes\n" in cli("show", "relay").stdout
    (ring,) = cli_json("show", "ring")
    assert ring["declares"] == {"connected": True}
    assert cli_json("show", "half")[0]["declares"] == {}


def test_show_a_name_of_two_kinds(cli, cli_json):
    text = cli("show", "test-twice").stdout
    assert "local update test-twice, from fedbench-test 4.5" in text
    assert "\n\ncompressor test-twice, from fedbench-test 4.5" in text
    assert [entry["kind"] for entry in cli_json("show", "test-twice")] == ["local_update", "compressor"]


def test_show_a_method_with_its_parts_and_its_own_options(cli):
    text = cli("show", "test-method").stdout
    for line in ("Thin federations.", "paper: Doe 2020", "fidelity: full", "mixed backbones: yes", "data: clients"):
        assert line in text.splitlines()
    (line,) = [line for line in text.splitlines() if "compressor.every" in line]
    assert line.split()[:4] == ["compressor", "test-thin", "compressor.every", "7"]


def test_show_as_json(cli_json):
    (thin,) = cli_json("show", "test-thin")
    assert (thin["kind"], thin["distribution"], thin["version"]) == ("compressor", "fedbench-test", "4.5")
    assert thin["options"][0] == {
        "name": "every",
        "type": "whole number",
        "accepts": "a whole number >= 1",
        "default": 2,
        "required": False,
        "description": "stride",
    }
    (method,) = cli_json("show", "test-method")
    assert method["paper"] == "Doe 2020"
    assert method["parts"]["compressor"]["options"][0]["value"] == 7
    assert method["parts"]["compressor"]["options"][0]["default"] == 2


def test_a_method_whose_part_is_missing_can_be_looked_at(cli):
    result = cli("show", "test-halfway")
    assert result.exit_code == 0
    assert "cannot run here: its local update: No local update named 'test-nowhere'." in result.stdout


def test_a_method_comes_before_the_part_of_the_same_name(cli_json, distribution):
    distribution(
        "fedbench-same",
        "from fedbench_core.api import Method, hookimpl\n"
        "@hookimpl\ndef fedbench_register_local_updates(): return {'test-same': lambda: None}\n"
        "@hookimpl\ndef fedbench_register_methods(): return {'test-same': Method('test-same')}",
    )
    assert [entry["kind"] for entry in cli_json("show", "test-same")] == ["method", "local_update"]


def test_show_a_miss(cli):
    result = cli("show", "test-thim")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "named 'test-thim'. Did you mean 'test-thin'" in result.stderr


def test_show_a_contested_name(cli, distribution):
    distribution(
        "fedbench-taker",
        "from fedbench_core.api import hookimpl\n@hookimpl\ndef fedbench_register_compressors(): "
        "return {'test-thin': dict}",
    )
    result = cli("show", "test-thin")
    assert result.exit_code == 2
    assert "fedbench-test 4.5" in result.stderr
    assert "fedbench-taker 1.0" in result.stderr
    assert "test-thin" in cli("plugins").stdout


def test_plugins_says_what_each_registers_and_what_is_wrong(cli, cli_json, distribution):
    distribution("fedbench-broken", "raise OSError('no disk')")
    text = cli("plugins").stdout
    (line,) = [line for line in text.splitlines() if line.startswith("fedbench-broken  ")]
    assert line.split() == ["fedbench-broken", "1.0", "parts", "nothing", "1"]
    assert "fedbench-broken 1.0 (entry point 'parts'): failed to load: OSError: no disk" in text
    assert "compressor: test-thin, test-twice" in text
    by_name = {entry["distribution"]: entry for entry in cli_json("plugins")}
    assert by_name["fedbench-test"]["registers"]["compressor"] == ["test-thin", "test-twice"]
    assert by_name["fedbench-broken"]["problems"] == ["failed to load: OSError: no disk"]


def test_the_core_registers_its_own_parts_without_a_problem(cli_json):
    (core,) = [entry for entry in cli_json("plugins") if entry["distribution"] == "fedbench-core"]
    assert core["problems"] == []
    assert {"iid", "dirichlet"} <= set(core["registers"]["partitioner"])


def test_list_backbones_does_not_drown_the_reader(cli, cli_json):
    text = cli("list", "backbones").stdout
    assert len(text.splitlines()) < 20
    assert "short for mobilenetv3_small_100" in text
    every = {entry["name"] for entry in cli_json("list", "backbones")}
    assert f"And {len(every) - 1} architectures of timm, by a pattern: fedbench list backbones 'resnet*'" in text
    assert {"mobilenetv3", "mobilenetv3_small_100", "resnet18"} <= every


def test_list_backbones_by_a_pattern(cli, cli_json):
    names = [entry["name"] for entry in cli_json("list", "backbones", "resnet1?")]
    assert "resnet18" in names
    assert all(len(name) == len("resnet1?") for name in names)
    assert [line.split()[0] for line in cli("list", "backbones", "resnet1?").stdout.splitlines()] == ["name", *names]
    assert "mobilenetv3" in [entry["name"] for entry in cli_json("list", "backbones", "mobilenetv3")]
    assert "Close backbones of timm: resnet18" in cli("list", "backbones", "resnet188").stderr


def test_show_a_backbone_of_timm(cli, cli_json):
    (entry,) = cli_json("show", "mobilenetv3")
    assert (entry["kind"], entry["distribution"]) == ("backbone", "timm")
    assert entry["doc"] == "Short for mobilenetv3_small_100."
    assert [option["name"] for option in entry["options"]] == ["stem", "pretrained"]
    assert cli("show", "resnet18").stdout.startswith("backbone resnet18, from timm ")
    miss = cli("show", "resnet188")
    assert miss.exit_code == 2
    assert "Close backbones of timm: resnet18" in miss.stderr
