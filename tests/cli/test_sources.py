import pytest

from fedbench_core.cli.sources import Item, exported, further, read

MODULE = '''
"""What the module says."""

from typing import ClassVar, Protocol

WORDS = ("a", 'b')
"""Said often."""
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

    @property
    def size(self) -> int:
        """Its size."""
        return 0

    def open(self, when: str, *who: int, soft: bool = False) -> "Part":
        """Start."""
        ...

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
    return distribution("fedbench-sources", MODULE)


def test_a_module_in_the_order_and_the_words_of_its_author(module) -> None:
    found = read(module)
    assert (found.name, found.doc) == (module, "What the module says.")
    part, small = found.items[2:4]
    assert [item.name for item in found.items] == ["WORDS", "SILENT", "Part", "Small", "put"]
    assert found.items[0] == Item("WORDS", 'WORDS = ("a", "b")', "Said often.")
    assert found.items[1].doc == ""
    assert part.doc == "A part.\n\nWith a second paragraph."
    assert [(member.code, member.doc, member.asked) for member in part.members] == [
        ('takes: ClassVar[str] = "many"', "How many\nletters.", False),
        ("plain: int", "", False),
        ("size -> int", "Its size.", False),
        ("open(when: str, *who: int, soft: bool = False) -> Part", "Start.", True),
        ('setup(name: str = "") -> None', "Make something.", False),
        ("Part.of(value: int | None = None) -> Part", "One of that value.", False),
        ("spell(word: str) -> str", "The word.", False),
        ("__call__(backbone: str) -> int", "What is called.", False),
    ]
    assert (part.code, small.code, small.doc) == ("Part", "Small(Part)", "")
    assert found.items[4].code == 'put(tensors: dict[str, int], *, under: str = "x") -> list[str]'


def test_only_the_names_that_are_asked_for(module) -> None:
    assert [item.name for item in read(module, ["put", "WORDS"]).items] == ["WORDS", "put"]


def test_what_a_package_exports_and_what_it_holds_besides() -> None:
    names = {name for names in exported("fedbench_core.learning").values() for name in names}
    assert {"fit", "Agreement"} <= names
    assert further("fedbench_core.learning") == ["fedbench_core.learning.similarity"]


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"fedbench_core\.nothing"):
        read("fedbench_core.nothing")
