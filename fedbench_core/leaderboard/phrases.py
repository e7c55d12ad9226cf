"""Phrases that footnotes have in common."""

from collections.abc import Sequence
from typing import Self


class Lead(str):
    """A footnote with an emphasized beginning, or with commands at its end. As a string it is plain text."""

    __slots__ = ("commands", "lead", "text")
    lead: str
    text: str
    commands: tuple[str, ...]

    def __new__(cls, lead: str, text: str, commands: tuple[str, ...] = ()) -> Self:
        """The footnote; `text` continues the sentence that `lead` begins."""
        joined = ", and ".join(commands)
        note = super().__new__(cls, f"{lead}{text}{joined and f' {joined}.'}")
        note.lead, note.text, note.commands = lead, text, commands
        return note


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 seed`, `2 seeds`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names separated by commas; a name that contains a comma is quoted."""
    return ", ".join(f"“{name}”" if "," in name else name for name in names)


def either(numbers: list[int]) -> str:
    """Numbers as alternatives: `3 or 4`."""
    return " or ".join(map(str, numbers))


def span(numbers: list[int]) -> str:
    """The smallest and the largest number: `3 to 17`; one number if they are equal."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def ranges(seeds: Sequence[int]) -> str:
    """Seeds with runs abbreviated: `0 to 11`, `0 to 2, 7`."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
