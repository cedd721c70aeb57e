import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gemel.core.units import (
    Seconds,
    Size,
    human_size,
    parse_duration,
    parse_size,
    render_duration,
    render_size,
)


class Holder(BaseModel):
    size: Size
    wait: Seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("1Ki", 1024), ("4Gi", 4 * 2**30), ("0Mi", 0), ("512Mi", 512 * 2**20), ("3Ti", 3 * 2**40), ("1Pi", 2**50)],
)
def test_sizes_are_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("bad", ["4", "4G", "4GB", "4 Gi", "-1Gi", "1.5Gi", "gi", "", 4, 4.0, None, True, []])
def test_what_is_no_size_is_refused_with_the_units(bad: object) -> None:
    with pytest.raises(ValueError, match="Ki, Mi, Gi, Ti or Pi"):
        parse_size(bad)


@pytest.mark.parametrize(
    ("text", "seconds"), [("20s", 20), ("250ms", 0.25), ("2m", 120), ("1h", 3600), ("7d", 604800), ("0s", 0)]
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("bad", ["20", "20 s", "20sec", "1.5s", "-1s", "", 20, 0.5, None])
def test_what_is_no_duration_is_refused_with_the_units(bad: object) -> None:
    with pytest.raises(ValueError, match="ms, s, m, h or d"):
        parse_duration(bad)


@given(st.integers(min_value=0, max_value=2**34).map(lambda kib: kib * 1024))
def test_a_rendered_size_reads_back(size: int) -> None:
    assert parse_size(render_size(size)) == size


@given(st.integers(min_value=0, max_value=2**44))
def test_a_size_is_never_rendered_smaller(size: int) -> None:
    assert 0 <= parse_size(render_size(size)) - size < 1024


@given(st.integers(min_value=0, max_value=10**12))
def test_a_rendered_duration_reads_back(millis: int) -> None:
    assert parse_duration(render_duration(millis / 1000)) == pytest.approx(millis / 1000)


def test_a_model_takes_and_gives_text() -> None:
    held = Holder(size="4Gi", wait="90s")  # type: ignore[arg-type]
    assert (held.size, held.wait) == (4 * 2**30, 90.0)
    assert held.model_dump_json() == '{"size":"4Gi","wait":"90s"}'
    with pytest.raises(ValidationError, match="not a size"):
        Holder(size=4096, wait="90s")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**30, "1 GiB"), (2**50, "1024 TiB")],
)
def test_people_read_sizes(size: int, text: str) -> None:
    assert human_size(size) == text
