import pytest

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.mark.parametrize("kind", ["compressors", "local-updates", "datasets", "methods"])
def test_list_shows_names_with_summaries(cli, kind):
    summaries = {
        "compressors": {"test-thin": "Keeps every n-th entry.", "test-twice": "Sends everything twice."},
        "local-updates": {"test-twice": "Sends everything twice."},
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


def test_list_prints_json(cli_json):
    assert cli_json("list", "compressors", "test-*") == [
        {
            "name": "test-thin",
            "summary": "Keeps every n-th entry.",
            "options": ["every", "side", "soft", "cap"],
            "distribution": "fedbench-test",
        },
        {"name": "test-twice", "summary": "Sends everything twice.", "options": [], "distribution": "fedbench-test"},
    ]
    methods = {entry["name"]: entry for entry in cli_json("list", "methods")}
    assert methods["test-method"]["mixed_backbones"] is True
    assert methods["test-method"]["partial_participation"] is True
    assert methods["test-halfway"]["mixed_backbones"] is False


def test_pattern_without_a_match_is_refused_with_a_similar_name(cli):
    result = cli("list", "compressors", "test-thim")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'test-thin'" in result.stderr


def test_unknown_kind_is_refused(cli):
    result = cli("list", "compresors")
    assert result.exit_code == 2
    assert "compressors" in result.stderr


def test_show_prints_a_part(cli):
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
        "Set an option with --set compressor.every=VALUE",
    ]


def test_required_option_is_marked(cli):
    assert "path    required  text     which" in cli("show", "test-file").stdout


def test_show_prints_what_a_part_declares(cli, cli_json):
    assert "takes: one\nstreaming: yes\n" in cli("show", "relay").stdout
    (ring,) = cli_json("show", "ring")
    assert ring["declares"] == {"connected": True, "reaches_absent": False}
    assert cli_json("show", "half")[0]["declares"] == {}


def test_name_of_two_kinds_is_shown_for_both(cli, cli_json):
    text = cli("show", "test-twice").stdout
    assert "local update test-twice, from fedbench-test 4.5" in text
    assert "\n\ncompressor test-twice, from fedbench-test 4.5" in text
    assert [entry["kind"] for entry in cli_json("show", "test-twice")] == ["local_update", "compressor"]


def test_method_is_shown_with_its_parts_and_its_own_options(cli):
    text = cli("show", "test-method").stdout
    for line in ("Thin federations.", "paper: Doe 2020", "fidelity: full", "mixed backbones: yes", "data: clients"):
        assert line in text.splitlines()
    (line,) = [line for line in text.splitlines() if "compressor.every" in line]
    assert line.split()[:2] == ["compressor.every", "7"]
    assert "compressor    test-thin" in text.splitlines()


def test_show_prints_json(cli_json):
    (thin,) = cli_json("show", "test-thin")
    assert (thin["kind"], thin["distribution"], thin["version"]) == ("compressor", "fedbench-test", "4.5")
    assert thin["options"][0] == {
        "name": "every",
        "type": "whole number",
        "accepts": "a whole number >= 1",
        "default": 2,
        "required": False,
        "description": "stride",
        "search": None,
    }
    (method,) = cli_json("show", "test-method")
    assert method["paper"] == "Doe 2020"
    assert method["parts"]["compressor"]["options"][0]["value"] == 7
    assert method["parts"]["compressor"]["options"][0]["default"] == 2


def test_method_with_a_missing_part_is_shown_with_the_problem(cli):
    result = cli("show", "test-halfway")
    assert result.exit_code == 0
    assert "test-nowhere" in result.stdout.splitlines()[-1]


def test_method_comes_before_the_part_of_the_same_name(cli_json, distribution):
    distribution(
        "fedbench-same",
        "from fedbench_core.api import Method, hookimpl\n"
        "@hookimpl\ndef fedbench_register_local_updates(): return {'test-same': lambda: None}\n"
        "@hookimpl\ndef fedbench_register_methods(): return {'test-same': Method('test-same')}",
    )
    assert [entry["kind"] for entry in cli_json("show", "test-same")] == ["method", "local_update"]


def test_unknown_name_is_refused_with_a_similar_name(cli):
    result = cli("show", "test-thim")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'test-thin'" in result.stderr


def test_contested_name_is_refused_with_both_plugins(cli, distribution):
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


def test_plugins_are_listed_with_what_they_register_and_their_problems(cli, cli_json, distribution):
    distribution("fedbench-broken", "raise OSError('no disk')")
    text = cli("plugins").stdout
    (line,) = [line for line in text.splitlines() if line.startswith("fedbench-broken  ")]
    assert line.split() == ["fedbench-broken", "1.0", "parts", "nothing", "1"]
    assert "OSError: no disk" in text
    assert "compressor: test-thin, test-twice" in text
    by_name = {entry["distribution"]: entry for entry in cli_json("plugins")}
    assert by_name["fedbench-test"]["registers"]["compressor"] == ["test-thin", "test-twice"]
    assert "OSError: no disk" in by_name["fedbench-broken"]["problems"][0]


def test_core_registers_its_parts_without_a_problem(cli_json):
    (core,) = [entry for entry in cli_json("plugins") if entry["distribution"] == "fedbench-core"]
    assert core["problems"] == []
    assert {"iid", "dirichlet"} <= set(core["registers"]["partitioner"])


def test_backbones_of_timm_are_counted_but_not_listed(cli, cli_json):
    text = cli("list", "backbones").stdout
    assert len(text.splitlines()) < 20
    assert "short for mobilenetv3_small_100" in text
    every = {entry["name"] for entry in cli_json("list", "backbones")}
    assert f"{len(every) - 1} timm" in text.splitlines()[-1]
    assert {"mobilenetv3", "mobilenetv3_small_100", "resnet18"} <= every


def test_backbones_of_timm_are_listed_by_a_pattern(cli, cli_json):
    names = [entry["name"] for entry in cli_json("list", "backbones", "resnet1?")]
    assert "resnet18" in names
    assert all(len(name) == len("resnet1?") for name in names)
    assert [line.split()[0] for line in cli("list", "backbones", "resnet1?").stdout.splitlines()] == ["name", *names]
    assert "mobilenetv3" in [entry["name"] for entry in cli_json("list", "backbones", "mobilenetv3")]
    assert "resnet18," in cli("list", "backbones", "resnet188").stderr


def test_backbone_of_timm_is_shown(cli, cli_json):
    (entry,) = cli_json("show", "mobilenetv3")
    assert (entry["kind"], entry["distribution"]) == ("backbone", "timm")
    assert entry["doc"] == "Short for mobilenetv3_small_100."
    assert [option["name"] for option in entry["options"]] == ["stem", "pretrained"]
    assert cli("show", "resnet18").stdout.startswith("backbone resnet18, from timm ")
    miss = cli("show", "resnet188")
    assert miss.exit_code == 2
    assert "resnet18," in miss.stderr
