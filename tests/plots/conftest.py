import pytest
from matplotlib import rc_context


@pytest.fixture
def words(tmp_path):
    """A function that gives the words in a figure, in drawing order."""
    import re  # noqa: PLC0415

    def read(figure) -> list[str]:
        with rc_context({"svg.fonttype": "none"}):  # text stays text
            figure.savefig(tmp_path / "words.svg")
        return re.findall(r">([^<>\n]+)</(?:text|tspan)>", (tmp_path / "words.svg").read_text())

    return read
