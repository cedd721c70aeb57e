"""Step: a host loses power without warning; its guest answers again from another one."""

import time

from gemel.demo.cast import choose_victim
from gemel.demo.conditions import hosts_of, not_alive, not_running
from gemel.demo.results import HostLoss, Results
from gemel.demo.timeline import Band, Mark
from gemel.demo.workbench import Workbench

ANSWER_WITHIN = 180.0
BACK_WITHIN = 120.0


async def lose_host(bench: Workbench, so_far: Results) -> HostLoss:
    control = [node.name for node in bench.region.topology.control]
    host, guest = choose_victim(hosts_of(bench.records.records()), bench.cast, control)
    bench.narrator.say(f"{host} runs {guest}. Its power fails: links dark, every process dead.")
    bench.narrator.command(f"gemel lab kill host {host}")
    entry = await bench.faults.kill_host(host)
    dark = float(entry.detail.get("dark", entry.ended))
    with bench.narrator.waiting(f"{guest} answers again"):
        answer = await bench.client.until_answer(guest, dark, ANSWER_WITHIN)
    seconds = answer.ended - entry.began
    landed = hosts_of(bench.records.records()).get(guest, "")
    bench.marks.append(Mark(answer.ended, f"{guest} answers again, from {landed} ({seconds:.1f} s)"))
    bench.narrator.good(f"{guest} answers the outside client again after {seconds:.1f} s, from {landed}")
    bench.narrator.command(f"gemel lab start host {host}")
    with bench.narrator.waiting(f"{host} boots and takes a lease again"):
        await bench.region.start_host(host)
        powered = time.monotonic()
        everybody = bench.hosts(bench.site) | bench.hosts(bench.survivor)
        await bench.records.until("all hosts", lambda records: not_alive(records, everybody), BACK_WITHIN)
        guests = [each.name for each in bench.cast.guests]
        await bench.records.until("all guests", lambda records: not_running(records, guests), BACK_WITHIN)
    bench.bands.append(Band(entry.began, powered, f"{host} without power"))
    bench.narrator.good(f"{host} is back")
    return HostLoss(host, guest, entry.began, powered, seconds, landed)
