"""The picture: what answered, which guest ran where, and what was done to the region meanwhile. Pure.

`Picture` is what is drawn; `render_timeline` draws it as an SVG that needs nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from xml.sax.saxutils import escape


class Tone(StrEnum):
    """What a bar says; its colour."""

    GOOD = "#2f9e6e"
    BAD = "#d64545"
    FIRST_SITE = "#3b6fb5"
    SECOND_SITE = "#c9822b"


@dataclass(frozen=True, slots=True)
class Bar:
    begin: float
    end: float
    tone: Tone
    label: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """A time of trouble or of change, over all lanes."""

    begin: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, numbered in the picture and told below it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Times are of one clock; the axis counts from ``begin``."""

    title: str
    begin: float
    end: float
    groups: tuple[Group, ...]
    bands: tuple[Band, ...]
    marks: tuple[Mark, ...]
    legend: tuple[tuple[Tone, str], ...]


WIDTH, GUTTER, RIGHT = 1280, 138, 24
_LANE, _BAR, _INSET, _GROUP = 24, 14, 3, 30
_HEAD, _BAND_ROW, _PIN_ROW = 74, 18, 20
_CHARACTER = 6.1
"""Width of a character of the 11-pixel face, on the generous side."""
_INK, _FAINT, _GRID, _SHADE = "#1f2933", "#6b7785", "#e4e8ec", "#7c5cbf"
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things are: ``top`` of the first lane, ``bottom`` of the last, and the scale of the axis."""

    begin: float
    end: float
    top: float
    bottom: float

    def x(self, at: float) -> float:
        share = (min(max(at, self.begin), self.end) - self.begin) / max(self.end - self.begin, 1e-9)
        return GUTTER + share * (WIDTH - GUTTER - RIGHT)


def render_timeline(picture: Picture) -> str:
    rows = stagger([(band.begin, _label_width(band.label)) for band in picture.bands], _seconds_a_pixel(picture))
    pins = stagger([(mark.at, 18) for mark in picture.marks], _seconds_a_pixel(picture))
    top = _HEAD + _BAND_ROW * (max(rows, default=-1) + 1) + _PIN_ROW * (max(pins, default=-1) + 1) + 6
    body = sum(_GROUP + _LANE * len(group.lanes) for group in picture.groups)
    frame = _Frame(picture.begin, picture.end, top, top + body)
    told_top = frame.bottom + 52
    told, told_height = _told(picture, told_top)
    height = ceil(told_top + told_height + 12)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' font-family="DejaVu Sans, Verdana, Helvetica, Arial, sans-serif" font-size="11" fill="{_INK}">',
        f"<title>{escape(picture.title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_head(picture),
        *_axis(frame),
        *_bands(picture.bands, rows, frame),
        *_groups(picture.groups, frame),
        *_pins(picture.marks, pins, frame),
        *told,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _seconds_a_pixel(picture: Picture) -> float:
    return (picture.end - picture.begin) / (WIDTH - GUTTER - RIGHT)


def stagger(items: Sequence[tuple[float, float]], scale: float) -> tuple[int, ...]:
    """A row for each (begin, width in pixels) so that no two of a row touch; ``scale`` is seconds a pixel.
    The first row that has room is taken, in the order given."""
    ends: list[float] = []
    rows = []
    for begin, width in items:
        row = next((number for number, end in enumerate(ends) if end <= begin), len(ends))
        if row == len(ends):
            ends.append(0.0)
        ends[row] = begin + (width + 4) * scale
        rows.append(row)
    return tuple(rows)


def _label_width(text: str) -> float:
    return len(text) * _CHARACTER + 8


def _text(x: float, y: float, text: str, **attributes: str) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, fill: str, extra: str = "") -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{extra}/>'


def _head(picture: Picture) -> Iterable[str]:
    yield _text(GUTTER, 30, picture.title, font_size="17", font_weight="600")
    x = float(GUTTER)
    for tone, words in picture.legend:
        yield _rect(x, 44, 14, 10, tone.value, ' rx="2"')
        yield _text(x + 20, 53, words, fill=_FAINT)
        x += 20 + _label_width(words) + 16


def _axis(frame: _Frame) -> Iterable[str]:
    length = frame.end - frame.begin
    step = next((step for step in _STEPS if length / step <= 14), _STEPS[-1])
    for number in range(int(length // step) + 1):
        x = frame.x(frame.begin + number * step)
        yield f'<line x1="{x:.1f}" y1="{frame.top:.1f}" x2="{x:.1f}" y2="{frame.bottom:.1f}" stroke="{_GRID}"/>'
        yield _text(x, frame.bottom + 16, clock(number * step), text_anchor="middle", fill=_FAINT)
    y = f"{frame.bottom:.1f}"
    yield f'<line x1="{GUTTER}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="{_FAINT}"/>'


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _bands(bands: Sequence[Band], rows: Sequence[int], frame: _Frame) -> Iterable[str]:
    for band, row in zip(bands, rows, strict=True):
        x, width = frame.x(band.begin), max(2.0, frame.x(band.end) - frame.x(band.begin))
        y = _HEAD + _BAND_ROW * row
        yield _rect(x, frame.top, width, frame.bottom - frame.top, _SHADE, ' fill-opacity="0.10"')
        yield (
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{frame.bottom:.1f}" stroke="{_SHADE}"'
            ' stroke-opacity="0.55"/>'
        )
        yield _rect(x, y, width, 3, _SHADE)
        right = x + _label_width(band.label) > WIDTH
        at, anchor = (x + width - 2, "end") if right else (x + 4, "start")
        yield _text(at, y + 14, band.label, fill=_SHADE, font_weight="600", text_anchor=anchor)


def _groups(groups: Sequence[Group], frame: _Frame) -> Iterable[str]:
    y = frame.top
    for group in groups:
        yield _text(14, y + 20, group.title, font_weight="600", fill=_FAINT)
        y += _GROUP
        for lane in group.lanes:
            yield _text(GUTTER - 10, y + _LANE / 2 + 1, lane.name, text_anchor="end")
            yield from _lane(lane, y + (_LANE - _BAR) / 2 - 3, frame)
            y += _LANE


def _lane(lane: Lane, y: float, frame: _Frame) -> Iterable[str]:
    # What failed is drawn last and never thinner than a pixel and a half: a short failure must be seen.
    for bar in sorted(lane.bars, key=lambda bar: bar.tone is Tone.BAD):
        if bar.end < frame.begin or bar.begin > frame.end:
            continue
        x = frame.x(bar.begin)
        width = max(1.5, frame.x(bar.end) - x)
        told = f"{lane.name} {bar.label}: {bar.begin - frame.begin:.1f} to {bar.end - frame.begin:.1f} s"
        edge = ' stroke="#ffffff"' if bar.label else ""  # between two spells of one colour
        inset = _INSET if bar.tone is Tone.GOOD else 0  # failures differ by more than their colour
        shape = _rect(x, y + inset, width, _BAR - 2 * inset, bar.tone.value, edge)
        yield f"<g><title>{escape(told)}</title>{shape}</g>"
        if bar.label and _label_width(bar.label) <= width:
            yield _text(x + 5, y + _BAR - 3.5, bar.label, fill="#ffffff", font_size="10")


def _pins(marks: Sequence[Mark], rows: Sequence[int], frame: _Frame) -> Iterable[str]:
    for number, (mark, row) in enumerate(zip(marks, rows, strict=True), start=1):
        x, y = frame.x(mark.at), frame.top - 12 - _PIN_ROW * row
        yield (
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{frame.bottom:.1f}" stroke="{_INK}"'
            ' stroke-dasharray="2 3" stroke-opacity="0.45"/>'
        )
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8.5" fill="{_INK}"/>'
        yield _text(x, y + 3.5, str(number), fill="#ffffff", text_anchor="middle", font_size="10")


def _told(picture: Picture, top: float) -> tuple[list[str], float]:
    """The numbered moments in words, in two columns."""
    half = ceil(len(picture.marks) / 2)
    parts = []
    for number, mark in enumerate(picture.marks):
        column, row = divmod(number, max(half, 1))
        x, y = GUTTER + column * (WIDTH - GUTTER - RIGHT) / 2, top + row * 20
        parts.append(f'<circle cx="{x + 8:.1f}" cy="{y - 4:.1f}" r="8" fill="{_INK}"/>')
        parts.append(_text(x + 8, y - 0.5, str(number + 1), fill="#ffffff", text_anchor="middle", font_size="10"))
        parts.append(_text(x + 24, y, clock(mark.at - picture.begin), fill=_FAINT))
        parts.append(_text(x + 60, y, mark.text))
    return parts, half * 20.0
