"""Quantities with explicit units: sizes in bytes (``4Gi``) and durations in seconds (``20s``).

A bare number is refused: nobody should have to guess whether 4096 meant bytes or MiB.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SIZE = re.compile(r"^(\d+)(Ki|Mi|Gi|Ti|Pi)$")
_SIZE_FACTOR = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_DURATION = re.compile(r"^(\d+)(ms|s|m|h|d)$")
_DURATION_FACTOR = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(value: Any) -> int:
    """Bytes of ``4Gi``. Raises ValueError that names the accepted units."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a size: write a whole number with Ki, Mi, Gi, Ti or Pi, such as 4Gi")
    return int(match[1]) * _SIZE_FACTOR[match[2]]


def render_size(size: int) -> str:
    """The shortest exact form: 4294967296 -> ``4Gi``. Sizes that are not whole KiB are rounded up."""
    for unit in ("Pi", "Ti", "Gi", "Mi"):
        if size and size % _SIZE_FACTOR[unit] == 0:
            return f"{size // _SIZE_FACTOR[unit]}{unit}"
    return f"{-(-size // 1024)}Ki"


def human_size(size: float) -> str:
    """For people, three figures: ``1.50 GiB``. Never parsed back."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.4g} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def parse_duration(value: Any) -> float:
    """Seconds of ``20s``. Raises ValueError that names the accepted units."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write a whole number with ms, s, m, h or d, such as 20s")
    return int(match[1]) * _DURATION_FACTOR[match[2]]


def render_duration(seconds: float) -> str:
    """The shortest exact form: 90.0 -> ``90s``, 3600.0 -> ``1h``, 0.25 -> ``250ms``."""
    millis = round(seconds * 1000)
    for unit in ("d", "h", "m", "s"):
        factor = int(_DURATION_FACTOR[unit] * 1000)
        if millis and millis % factor == 0:
            return f"{millis // factor}{unit}"
    return f"{millis}ms"


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(render_size, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _SIZE.pattern, "examples": ["4Gi"]}),
]
Seconds = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(render_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["20s"]}),
]
