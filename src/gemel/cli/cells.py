"""Pure: values of objects to what a person reads in a table."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gemel.catalog.kind import CellType, Column
from gemel.core.units import human_size, parse_duration, parse_size

NOTHING = "-"


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None when any step of it is missing."""
    found: Any = document
    for step in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def render_cell(value: Any, kind: CellType, now: datetime) -> str:
    if value is None or value in ("", [], {}):
        return NOTHING
    if kind is CellType.SIZE:
        return _size(value)
    if kind is CellType.SECONDS:
        return _seconds(value)
    if kind is CellType.MOMENT:
        return render_age(value, now)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(str(item) for item in value)
    return " ".join(str(value).split())


def render_age(moment: Any, now: datetime) -> str:
    """The time since an RFC 3339 instant: ``3m12s``. Text that is none is shown as it is."""
    try:
        then = datetime.fromisoformat(str(moment))
    except ValueError:
        return str(moment)
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return render_span((now - then).total_seconds())


def render_span(seconds: float) -> str:
    """Two units at most, as kubectl does: ``45s``, ``3m12s``, ``5h20m``, ``12d``."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest}s" if rest and minutes < 10 else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    return f"{hours // 24}d"


def _size(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return human_size(value)
    try:
        return human_size(parse_size(value))
    except ValueError:
        return str(value)


def _seconds(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.1f}s" if value < 10 else render_span(value)
    try:
        return render_span(parse_duration(value))
    except ValueError:
        return str(value)


def render_row(document: Mapping[str, Any], columns: Sequence[Column], now: datetime) -> list[str]:
    return [render_cell(value_at(document, column.path), column.type, now) for column in columns]


def widths_of(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def render_line(row: Sequence[str], widths: Sequence[int]) -> str:
    """One line, columns three blanks apart; the last is never padded, none is ever cut."""
    return "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = widths_of([header, *rows])
    return "\n".join(render_line(row, widths) for row in [header, *rows])
