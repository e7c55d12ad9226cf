import pytest

from fedbench_core.api import DataError, FedbenchError, PayloadError, RequestError, RunError, unknown


@pytest.mark.parametrize(
    ("kind", "status"), [(RequestError, 2), (DataError, 1), (RunError, 1), (PayloadError, 1), (FedbenchError, 1)]
)
def test_the_exit_status_follows_from_the_class(kind, status) -> None:
    assert kind("said").exit_code == status
    assert isinstance(kind("said"), FedbenchError)


@pytest.mark.parametrize(
    ("name", "available", "hint", "sentence"),
    [
        (
            "sdv",
            ["svd", "half", "dense"],
            "",
            "No compressor named 'sdv'. Did you mean 'svd'? Available: dense, half, svd.",
        ),
        ("zzz", ["half", "dense"], "", "No compressor named 'zzz'. Available: dense, half."),
        ("zzz", [], "Install one.", "No compressor named 'zzz'. Available: none. Install one."),
        (
            "alph",
            {"alpha": 1, "alphb": 2},
            "",
            "No compressor named 'alph'. Did you mean 'alphb' or 'alpha'? Available: alpha, alphb.",
        ),
    ],
)
def test_a_name_that_nothing_answers_to(name, available, hint, sentence) -> None:
    error = unknown("compressor", name, available, hint)
    assert isinstance(error, RequestError)
    assert str(error) == sentence
