"""What happened, composed into a picture. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from gemel.demo.samples import Sample, of_target, stretches
from gemel.demo.timeline import Band, Bar, Group, Lane, Mark, Picture, Tone
from gemel.lab.history import Run

_TITLES = {
    "database": "database commits",
    "deposit": "deposits (web)",
    "shop": "shop orders",
    "pgbench": "pgbench",
}


def plan_picture(
    samples: Sequence[Sample],
    runs: Iterable[Run],
    span: tuple[float, float],
    sites: Mapping[str, str],
    bands: Iterable[Band],
    marks: Iterable[Mark],
) -> Picture:
    """``span`` is the time to show; ``sites`` maps hosts to sites, the home site's hosts first."""
    begin, end = span
    first = next(iter(sites.values()), "")
    names = dict.fromkeys(sites.values())
    tones = {name: Tone.FIRST_SITE if name == first else Tone.SECOND_SITE for name in names}
    legend = [(Tone.GOOD, "answers"), (Tone.BAD, "does not answer")]
    legend += [(tone, f"runs at {name}") for name, tone in tones.items()]
    return Picture(
        title="A region through migration, loss of a host, loss of a site, and return",
        begin=begin,
        end=end,
        groups=(
            Group("What the outside client saw", tuple(_target_lanes(samples))),
            Group("Where each guest ran", tuple(_guest_lanes(runs, {h: tones[s] for h, s in sites.items()}, end))),
        ),
        bands=tuple(sorted(bands, key=lambda band: band.begin)),
        marks=tuple(sorted(marks, key=lambda mark: mark.at)),
        legend=tuple(legend),
    )


def _target_lanes(samples: Sequence[Sample]) -> Iterable[Lane]:
    present = dict.fromkeys(each.target for each in samples)
    known = [target for target in ("database", "pgbench", "deposit") if target in present]
    others = sorted(target for target in present if target not in _TITLES)
    for target in (*known, *others, *(("shop",) if "shop" in present else ())):
        bars = tuple(
            Bar(each.begin, each.end, Tone.GOOD if each.ok else Tone.BAD)
            for each in stretches(of_target(samples, target))
        )
        yield Lane(_TITLES.get(target, target), bars)


def _guest_lanes(runs: Iterable[Run], tones: Mapping[str, Tone], end: float) -> Iterable[Lane]:
    """When each guest was executed, and by which host."""
    by_guest: dict[str, list[Bar]] = {}
    for run in runs:
        bars = by_guest.setdefault(run.guest, [])
        bars += [
            Bar(spell.begin, min(spell.end, end), tones.get(run.host, Tone.FIRST_SITE), run.host)
            for spell in run.executed
        ]
    for guest in sorted(by_guest):
        yield Lane(guest, tuple(sorted(by_guest[guest], key=lambda bar: bar.begin)))
