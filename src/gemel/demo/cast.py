"""Who plays: the applications of `examples/`, as the demo's load and faults need to know them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gemel.core.outcome import Permanent
from gemel.demo.pgbench import Database

BANK, SHOP = "bank", "shop"
MANIFESTS = ("policy.yaml", "bank.yaml", "shop.yaml")
"""What is applied. Sites and hosts are declared by the lab as hosts join, images as they were built."""


@dataclass(frozen=True, slots=True)
class Guest:
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Cast:
    """``site`` is the bank's preferred one. ``password`` of the bank's database is in the example itself."""

    site: str
    database: Guest
    webs: tuple[Guest, ...]
    shop: Guest
    password: str

    @property
    def bank(self) -> tuple[Guest, ...]:
        return (self.database, *self.webs)

    @property
    def guests(self) -> tuple[Guest, ...]:
        return (*self.bank, self.shop)

    @property
    def connection(self) -> Database:
        return Database(self.database.address, "bank", "bank")


def parse_cast(objects: Sequence[Mapping[str, Any]]) -> Cast:
    """From the documents of the examples. Raises Permanent that names what they lack."""
    applications = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "Application"}
    machines = [each for each in objects if each["kind"] == "VirtualMachine"]
    if BANK not in applications:
        raise Permanent(f"examples/ declare no application {BANK}: the demo plays with it")
    database = _one(machines, BANK, "db")
    return Cast(
        site=str(applications[BANK]["preferredSite"]),
        database=_guest(database),
        webs=tuple(_guest(each) for each in _tier(machines, BANK, "web")),
        shop=_guest(_one(machines, SHOP, "front")),
        password=str(database["spec"]["config"]["BANK_PASSWORD"]),
    )


def _tier(machines: Sequence[Mapping[str, Any]], app: str, tier: str) -> list[Mapping[str, Any]]:
    wanted = {"app": app, "tier": tier}
    found = [each for each in machines if wanted.items() <= each["metadata"].get("labels", {}).items()]
    if not found:
        raise Permanent(f"examples/ declare no virtual machine with labels app: {app}, tier: {tier}")
    return found


def _one(machines: Sequence[Mapping[str, Any]], app: str, tier: str) -> Mapping[str, Any]:
    return _tier(machines, app, tier)[0]


def _guest(machine: Mapping[str, Any]) -> Guest:
    return Guest(str(machine["metadata"]["name"]), str(machine["spec"]["addresses"][0]))


def choose_victim(hosts: Mapping[str, str], cast: Cast, control: Sequence[str]) -> tuple[str, str]:
    """(host, web guest on it) whose power is to fail. ``hosts`` maps guests to where they run. Where there is
    a choice: not the database's host, and not one that also carries a store member and an API, so that the
    guest's own way back is measured. Raises Permanent when no web guest runs."""
    candidates = [(hosts[web.name], web.name) for web in cast.webs if hosts.get(web.name)]
    if not candidates:
        raise Permanent("no guest of the bank's web tier runs: there is no host to take from it")
    at_database = hosts.get(cast.database.name)
    return min(candidates, key=lambda pair: (pair[0] == at_database, pair[0] in control, pair))
