"""``status``: the region at one glance, in the manner of ``ceph status``."""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gemel.cli.cells import render_line, render_span, widths_of
from gemel.cli.client import Api
from gemel.cli.exits import CommandFailed, Exit
from gemel.core.units import human_size

REFRESH_SECONDS = 1.0
_CLEAR = "\x1b[H\x1b[2J"
_COLOURS = {"OK": "32", "WARNING": "33", "CRITICAL": "1;31"}
Report = Mapping[str, Any]


async def show_status(api: Api, watch: bool, output: str) -> int:
    """Print it, again and again with ``watch``. Returns the number of alarms."""
    if output not in ("text", "json"):
        raise CommandFailed(Exit.USAGE, f"there is no output {output!r}", "one of text, json")
    while True:
        report = await _fetch(api, patient=watch)
        if output == "json":
            print(json.dumps(report, indent=None if watch else 2, ensure_ascii=False), flush=True)
        else:
            terminal = sys.stdout.isatty()
            text = render_status(report, terminal)
            print(f"{_CLEAR}{text}" if watch and terminal else text, flush=True)
        if not watch:
            return len(report.get("alarms") or ())
        await asyncio.sleep(REFRESH_SECONDS)


async def _fetch(api: Api, patient: bool) -> Report:
    """``patient``: who watches a site being lost does not want the watching to end with it."""
    while True:
        try:
            report: Report = await api.get("/v1/status")
            return report
        except CommandFailed as error:
            if not patient or error.code is not Exit.UNAVAILABLE:
                raise
            print(f"gemel: {error.message}", file=sys.stderr, flush=True)
        await asyncio.sleep(REFRESH_SECONDS)


def render_status(report: Report, coloured: bool = False) -> str:
    """Pure: blocks with a heading each, as people who know Ceph expect them."""
    blocks = [
        _region(report, coloured),
        _block("sites", _sites(report.get("sites") or ())),
        _block("applications", _applications(report.get("applications") or ())),
        _block("guests and data", _totals(report)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _region(report: Report, coloured: bool) -> list[str]:
    health = str(report.get("health", "UNKNOWN"))
    shown = f"\x1b[{_COLOURS[health]}m{health}\x1b[0m" if coloured and health in _COLOURS else health
    lines = [f"  region:     {report.get('region', '')}", f"  health:     {shown}"]
    for alarm in report.get("alarms") or ():
        mark = "!!" if alarm.get("severity") == "CRITICAL" else " !"
        lines.append(f"           {mark} {alarm.get('kind')}/{alarm.get('name')}: {alarm.get('message')}")
        if hint := alarm.get("hint"):
            lines.append(f"              {hint}")
    lines.append(f"  controller: {report.get('controller') or 'nobody leads'}")
    lines.append(f"  store:      {_store(report.get('store') or {})}")
    return lines


def _store(store: Report) -> str:
    members = store.get("members") or ()
    revision = f"revision {store.get('revision')}"
    if not members:
        return revision
    healthy = sum(bool(member.get("healthy")) for member in members)
    leader = next((str(member.get("name")) for member in members if member.get("leader")), None)
    return f"{healthy}/{len(members)} members, {f'leader {leader}, ' if leader else ''}{revision}"


def _sites(sites: Sequence[Report]) -> Iterator[list[str]]:
    for site in sites:
        away = [str(lease.get("host")) for lease in site.get("leases") or () if not lease.get("alive")]
        closed = [str(lease.get("host")) for lease in site.get("leases") or () if lease.get("schedulable") is False]
        remarks = [f"no lease: {', '.join(away)}"] if away else []
        remarks += [f"drained: {', '.join(closed)}"] if closed else []
        yield [
            f"{site.get('name')}:",
            f"{site.get('hostsAlive', 0)}/{site.get('hostsTotal', 0)} hosts",
            f"{site.get('guestsRunning', 0)} guests",
            f"steward {site.get('steward') or 'none'}",
            "; ".join(remarks),
        ]


def _applications(applications: Sequence[Report]) -> Iterator[list[str]]:
    for each in applications:
        place = str(each.get("site") or "nowhere")
        if target := each.get("movingTo"):
            place += f" -> {target}"
        elif each.get("preferredSite") and each.get("preferredSite") != each.get("site"):
            place += f" (prefers {each['preferredSite']})"
        epoch = each.get("epoch")
        yield [
            f"{each.get('name')}:",
            f"{each.get('guestsRunning', 0)}/{each.get('guestsTotal', 0)} guests",
            f"at {place}",
            f"epoch {epoch}" if epoch is not None else "no ticket",
            _protection(each),
        ]


def _protection(application: Report) -> str:
    if not application.get("protected"):
        return "not protected"
    age, point = application.get("replicaAgeSeconds"), application.get("recoveryPointSeconds")
    bound = f" of {render_span(point)}" if isinstance(point, int | float) else ""
    if not isinstance(age, int | float):
        return "no complete replica"
    behind = human_size(application.get("unshippedBytes") or 0)
    return f"replica {render_span(age)}{bound} old, {behind} not yet there"


def _totals(report: Report) -> Iterator[list[str]]:
    guests, replicas = report.get("guests") or {}, report.get("replicas") or {}
    yield ["guests:", f"{guests.get('running', 0)} running, {guests.get('wanted', 0)} wanted"]
    age = replicas.get("oldestAgeSeconds")
    oldest = f", oldest copy {render_span(age)}" if isinstance(age, int | float) else ""
    behind = human_size(replicas.get("unshippedBytes") or 0)
    protected = f"{replicas.get('protected', 0)} of {replicas.get('volumes', 0)} protected"
    yield ["volumes:", f"{protected}{oldest}, {behind} not yet on the other site"]
    held = report.get("quarantine") or {}
    if held.get("held") or held.get("salvaged"):
        diverged = human_size(held.get("divergedBytes") or 0)
        yield ["quarantine:", f"{held.get('held', 0)} held, {held.get('salvaged', 0)} salvaged, {diverged} diverged"]


def _block(title: str, rows: Iterator[list[str]]) -> list[str]:
    found = list(rows)
    if not found:
        return []
    widths = widths_of(found)
    return [f"  {title}:", *(f"    {render_line(row, widths)}" for row in found)]
