"""Quantities with units, as text."""

_KILO = 1000
_MINUTE = 60


def bytes_text(count: float) -> str:
    """Bytes in decimal units, three digits: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if float(f"{count:.3g}") < _KILO:  # 999.6 kB are 1 MB
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= _KILO
    return f"{count:.3g} TB"


def seconds_text(seconds: float) -> str:
    """A duration: `8.3 s`, `4 min 10 s`."""
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes} min {rest} s"
