"""The declared resources as they would be after an apply. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from gemel.catalog.membership import Membership
from gemel.catalog.records import App, Machine, Records
from gemel.compute.kinds import HostSpec, ImageSpec, SiteSpec
from gemel.continuity.kinds import ProtectionPolicySpec, TierSpec
from gemel.core.resource import Resource

Place = tuple[str, str]
"""Kind and name."""


@dataclass(frozen=True)
class World:
    resources: Mapping[Place, Resource[Any]]
    claimed: frozenset[Place] = frozenset()
    """Places that documents of the same batch claim, but whose shape is wrong: references to them are not
    called dangling, because their own problem is said already."""

    @classmethod
    def of(cls, records: Records) -> "World":
        kinds: dict[str, Mapping[str, Resource[Any]]] = {
            "Site": records.sites,
            "Host": records.hosts,
            "Image": records.images,
            "VirtualMachine": records.machines,
            "Application": records.applications,
            "ProtectionPolicy": records.policies,
        }
        return cls({(kind, name): one for kind, found in kinds.items() for name, one in found.items()})

    def after(self, changed: Iterable[Resource[Any]], claimed: frozenset[Place]) -> "World":
        replaced = {(each.kind, each.metadata.name): each for each in changed}
        return World({**self.resources, **replaced}, claimed)

    def exists(self, kind: str, name: str) -> bool:
        return (kind, name) in self.resources or (kind, name) in self.claimed

    def names(self, kind: str) -> list[str]:
        return sorted(name for found, name in {*self.resources, *self.claimed} if found == kind)

    def _of(self, kind: str) -> dict[str, Any]:
        return {name: found for (each, name), found in self.resources.items() if each == kind}

    @cached_property
    def sites(self) -> dict[str, Resource[SiteSpec]]:
        return self._of("Site")

    @cached_property
    def hosts(self) -> dict[str, Resource[HostSpec]]:
        return self._of("Host")

    @cached_property
    def images(self) -> dict[str, Resource[ImageSpec]]:
        return self._of("Image")

    @cached_property
    def machines(self) -> dict[str, Machine]:
        return self._of("VirtualMachine")

    @cached_property
    def applications(self) -> dict[str, App]:
        return self._of("Application")

    @cached_property
    def policies(self) -> dict[str, Resource[ProtectionPolicySpec]]:
        return self._of("ProtectionPolicy")

    @cached_property
    def prefixes(self) -> dict[str, tuple[IPv4Network, ...]]:
        return {name: site.spec.prefixes for name, site in sorted(self.sites.items())}

    @cached_property
    def claims(self) -> dict[str, tuple[str, ...]]:
        """For each virtual machine the applications that select it."""
        membership = Membership.of((name, app.spec.selector) for name, app in self.applications.items())
        return {guest: membership.claims(machine.metadata.labels) for guest, machine in self.machines.items()}

    @cached_property
    def _members(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for guest, claims in sorted(self.claims.items()):
            for application in claims:
                found.setdefault(application, []).append(guest)
        return found

    @cached_property
    def owners(self) -> dict[IPv4Address, tuple[Place, ...]]:
        """Who has each address: hosts and virtual machines."""
        found: dict[IPv4Address, list[Place]] = {}
        for name, host in sorted(self.hosts.items()):
            found.setdefault(host.spec.address, []).append(("Host", name))
        for name, machine in sorted(self.machines.items()):
            for address in machine.spec.addresses:
                found.setdefault(address, []).append(("VirtualMachine", name))
        return {address: tuple(each) for address, each in found.items()}

    def application_of(self, guest: str) -> App | None:
        claims = self.claims.get(guest, ())
        return self.applications[claims[0]] if claims else None

    def members(self, application: str) -> tuple[str, ...]:
        return tuple(self._members.get(application, ()))

    def tiers_of(self, application: App, machine: Machine) -> tuple[TierSpec, ...]:
        return tuple(tier for tier in application.spec.tiers if tier.selector.matches(machine.metadata.labels))

    def homes(self, guest: str) -> tuple[str, ...]:
        """Sites on which a guest may come to run: one, unless its application is protected or it is free."""
        application = self.application_of(guest)
        if application is None:
            site = self.machines[guest].spec.placement.site
            return (site,) if site else tuple(sorted(self.sites))
        if application.spec.protection is None:
            return (application.spec.preferred_site,)
        return tuple(sorted(self.sites))
