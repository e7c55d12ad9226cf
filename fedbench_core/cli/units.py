"""Quantities with units, as text."""

_KILO = 1000
_MINUTE = 60


def bytes_text(count: float) -> str:
    """Bytes in decimal units, three digits: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _KILO:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= _KILO
    return f"{count:.3g} TB"


def seconds_text(seconds: float) -> str:
    """A duration: `8.3 s`, `4 min 10 s`."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE)} s"
