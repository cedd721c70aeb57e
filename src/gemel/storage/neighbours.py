"""What storage reads of records that others write: only the fields that it needs, whatever else is there.

The storage wing imports no other wing; the store's keys and JSON are the contract between them. Tests hold
these readings to the writers' own models.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from gemel.core.identity import Epoch, GuestName, HostName, SiteName
from gemel.core.resource import Selector
from gemel.core.units import Seconds, Size


class Reading(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Phase(StrEnum):
    ACTIVE = "Active"
    DRAINING = "Draining"


class TicketReading(Reading):
    application: str
    site: SiteName
    epoch: Epoch
    phase: Phase
    to: SiteName | None = None


class AssignmentReading(Reading):
    guest: GuestName
    application: str
    epoch: Epoch
    host: HostName
    incarnation: str
    target: HostName | None = None
    running: bool = True
    generation: int = 1


class ReportReading(Reading):
    guest: GuestName
    host: HostName
    incarnation: str
    generation: int
    state: str
    epoch: Epoch


class MetadataReading(Reading):
    name: str
    labels: dict[str, str] = Field(default_factory=dict)


class DiskReading(Reading):
    name: str
    size: Size
    image: str | None = None


class BootReading(Reading):
    image: str


class MachineSpecReading(Reading):
    boot: BootReading
    disks: tuple[DiskReading, ...] = ()


class MachineReading(Reading):
    metadata: MetadataReading
    spec: MachineSpecReading


class ImageSpecReading(Reading):
    disk: str | None = None
    disk_size: Size | None = None
    digest: str | None = None
    guest_agent: bool = False


class ImageReading(Reading):
    metadata: MetadataReading
    spec: ImageSpecReading


class ApplicationSpecReading(Reading):
    selector: Selector
    protection: str | None = None


class ApplicationReading(Reading):
    metadata: MetadataReading
    spec: ApplicationSpecReading


class PolicySpecReading(Reading):
    recovery_point: Seconds
    consistency: str = "application"
    bandwidth_limit: Size | None = None
    keep_salvage: Seconds = 7 * 86400.0


class PolicyReading(Reading):
    metadata: MetadataReading
    spec: PolicySpecReading


class SiteReading(Reading):
    metadata: MetadataReading
