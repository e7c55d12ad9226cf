import pytest

from fedbench_core.cli.sources import code, doc, exported, is_required, load, members, unexported

MODULE = '''
"""What the module holds."""

from typing import ClassVar, Protocol

WORDS = ("a", 'b')
"""Used often."""
SILENT = 1
_HIDDEN = 2


class Part(Protocol):
    """A part.

    With a second paragraph.
    """

    takes: ClassVar[str] = "many"
    """How many
    messages."""
    plain: int
    lr: float = 0.1

    @property
    def size(self) -> int:
        """Its size."""
        return 0

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def open(self, when: str, *who: int, soft: bool = False) -> "Part":
        """Start."""
        ...

    def close(self) -> None:
        """Stop."""

    def setup(self, name: str = "") -> None:
        """Make something."""

    @classmethod
    def of(cls, value: int | None = None) -> "Part":
        """One of that value."""
        return cls()

    @staticmethod
    def spell(word: str) -> str:
        """The word."""
        return word

    def __call__(self, backbone: str) -> int:
        """What is called."""
        ...

    def _private(self) -> None: ...


class Small(Part):
    pass


def put(tensors: dict[str, int], *, under: str = "x") -> list[str]:
    """Put them."""


def _helper() -> None: ...
'''


@pytest.fixture
def module(distribution):
    return load(distribution("fedbench-sources", MODULE))


def test_module_is_read_in_source_order_with_its_docstrings(module) -> None:
    found = {item.name: item for item in members(module)}
    assert doc(module) == "What the module holds."
    assert list(found) == ["WORDS", "SILENT", "Part", "Small", "put"]
    assert [doc(found[name]) for name in ("WORDS", "SILENT", "Small")] == ["Used often.", "", ""]
    assert doc(found["Part"]) == "A part.\n\nWith a second paragraph."


def test_code_of_a_name_is_its_signature(module) -> None:
    part = [(code(member), doc(member), is_required(member)) for member in members(module["Part"])]
    assert part == [
        ('takes: ClassVar[str] = "many"', "How many\nmessages.", False),
        ("plain: int", "", False),
        ("lr: float = 0.1", "", False),
        ("size -> int", "Its size.", False),
        ("name -> str", "Its name.", True),
        ("open(when: str, *who: int, soft: bool = False) -> Part", "Start.", True),
        ("close() -> None", "Stop.", False),
        ('setup(name: str = "") -> None', "Make something.", False),
        ("Part.of(value: int | None = None) -> Part", "One of that value.", False),
        ("spell(word: str) -> str", "The word.", False),
        ("__call__(backbone: str) -> int", "What is called.", False),
    ]
    others = [code(item) for item in members(module) if item.name != "Part"]
    assert others == [
        'WORDS = ("a", "b")',
        "SILENT = 1",
        "Small(Part)",
        'put(tensors: dict[str, int], *, under: str = "x") -> list[str]',
    ]


def test_members_can_be_limited_to_names(module) -> None:
    assert [item.name for item in members(module, ["put", "WORDS"])] == ["WORDS", "put"]


def test_package_exports_its_public_names_and_keeps_other_modules_whole() -> None:
    modules = exported("fedbench_core.learning")
    names = {name for names in modules.values() for name in names}
    assert {"fit", "Agreement"} <= names
    assert not set(modules) & set(unexported("fedbench_core.learning"))
    assert "fedbench_core.learning.similarity" in unexported("fedbench_core.learning")


@pytest.mark.parametrize("name", ["fedbench_core.nothing", "fedbench_nothing"])
def test_missing_module_is_an_error(name) -> None:
    with pytest.raises(ModuleNotFoundError, match=name):
        load(name)
