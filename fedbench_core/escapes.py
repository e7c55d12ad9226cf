"""Text of records, suites and plugins, made harmless for each format in which it is shown: one function per format.

All keep the text readable. Line breaks, terminal escape sequences and other control characters become visible, such as
backslash-u001b.
"""

import re
from urllib.parse import quote

_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff"
"""Without tab and line feed. Terminals interpret the first; the later ones change the order in which text is shown."""
_CONTROLS = re.compile(f"[{_CONTROL}]")
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~&$@#]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
_LINE_START = re.compile(r"^(?:[-+](?=\s|$)|-(?=-)|=|\d+(?=[.)](?:\s|$)))")
_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        **{sign: f"{{{sign}}}" for sign in "[]*"},  # a row that starts with one of them continues the command before it
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "±": r"$\pm$",
        "–": "--",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "†": r"$^\dagger$",
    }
)


def lines(text: str) -> str:
    """Text with visible control characters, but for tabs and line breaks."""
    return _CONTROLS.sub(_visible, text)


def line(text: str) -> str:
    """Text on one line, with visible control characters: for a terminal, and for the other formats."""
    return lines(text).replace("\n", r"\u000a").replace("\t", " ")


def markdown(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, link, image, emphasis, table cell or list starts in it."""
    escaped = _MARKDOWN.sub(lambda match: f"\\{match[0]}", line(text).strip())
    return _LINE_START.sub(_escaped_start, escaped)


def code(text: str) -> str:
    """A code span of Markdown."""
    shown = line(text).replace("|", "¦")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if "`" in shown else ""
    return f"{fence}{space}{shown}{space}{fence}"


def url(path: str) -> str:
    """A relative path as the target of a link."""
    return f"./{quote(path)}" if ":" in path else quote(path)


def csv(value: object) -> object:
    """A value that spreadsheets don't take for a formula: text that starts like one gets an apostrophe in front."""
    if not isinstance(value, str):
        return value
    shown = line(value)
    return f"'{shown}" if shown.lstrip().startswith(("=", "+", "-", "@")) else shown


def latex(text: str) -> str:
    """Text without commands of LaTeX."""
    return line(text).translate(_LATEX)


def _visible(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _escaped_start(match: re.Match[str]) -> str:
    """A sign that would start a list or heading; the sign behind a number would."""
    return f"\\{match[0]}" if not match[0].isdigit() else f"{match[0]}\\"
