"""All kinds of all wings: the declared ones, and the ones shown from records."""

import difflib

from gemel.catalog.kind import CellType, Column, Kind, Writer
from gemel.compute.kinds import HostSpec, ImageSpec, SiteSpec, VirtualMachineSpec
from gemel.continuity.kinds import ApplicationSpec, ProtectionPolicySpec
from gemel.core import layout
from gemel.core.resource import Resource

NAME = Column("NAME", "metadata.name")
AGE = Column("AGE", "metadata.creationTimestamp", CellType.MOMENT)
LABELS = Column("LABELS", "metadata.labels", CellType.LIST, wide=True)

SITE = Kind(
    name="Site",
    singular="site",
    plural="sites",
    short_names=(),
    doc="One cluster of hosts with its own Ceph, in one building.",
    columns=(
        NAME,
        Column("HOSTS", "status.hosts"),
        Column("GUESTS", "status.guestCount", CellType.NUMBER),
        Column("STEWARD", "status.steward"),
        Column("LOCATION", "spec.location"),
        AGE,
        Column("PREFIXES", "spec.prefixes", CellType.LIST, wide=True),
        LABELS,
    ),
    writer=Writer.ADMIN,
    model=Resource[SiteSpec],
    spec=SiteSpec,
    sources=(layout.RESOURCES, layout.LEASES, layout.ASSIGNMENTS, layout.REPORTS, layout.TICKETS, layout.ELECTIONS),
)
HOST = Kind(
    name="Host",
    singular="host",
    plural="hosts",
    short_names=("node",),
    doc="A machine that runs guests.",
    columns=(
        NAME,
        Column("SITE", "spec.site"),
        Column("STATE", "status.phase"),
        Column("GUESTS", "status.guestCount", CellType.NUMBER),
        Column("CPU", "spec.cpu", CellType.NUMBER),
        Column("MEMORY", "spec.memory", CellType.SIZE),
        AGE,
        Column("ADDRESS", "spec.address", wide=True),
        Column("CPU-TAKEN", "status.cpuTaken", CellType.NUMBER, wide=True),
        Column("MEMORY-TAKEN", "status.memoryTaken", CellType.SIZE, wide=True),
        Column("INCARNATION", "status.incarnation", wide=True),
        LABELS,
    ),
    writer=Writer.ADMIN,
    model=Resource[HostSpec],
    spec=HostSpec,
    sources=(layout.RESOURCES, layout.LEASES, layout.ASSIGNMENTS, layout.REPORTS, layout.STATUS),
    kept=("schedulable",),
)
IMAGE = Kind(
    name="Image",
    singular="image",
    plural="images",
    short_names=("img",),
    doc="Something to boot.",
    columns=(
        NAME,
        Column("OS", "spec.os"),
        Column("SIZE", "spec.diskSize", CellType.SIZE),
        Column("USED-BY", "status.usedBy", CellType.NUMBER),
        AGE,
        Column("KERNEL", "spec.kernel", wide=True),
        Column("DISK", "spec.disk", wide=True),
        Column("DIGEST", "spec.digest", wide=True),
        LABELS,
    ),
    writer=Writer.ADMIN,
    model=Resource[ImageSpec],
    spec=ImageSpec,
    sources=(layout.RESOURCES,),
)
VIRTUAL_MACHINE = Kind(
    name="VirtualMachine",
    singular="virtualmachine",
    plural="virtualmachines",
    short_names=("vm", "vms", "guest", "guests"),
    doc="A virtual machine: wanted here, run as a guest by a host.",
    columns=(
        NAME,
        Column("STATE", "status.phase"),
        Column("SITE", "status.site"),
        Column("HOST", "status.host"),
        Column("APPLICATION", "status.application"),
        Column("EPOCH", "status.epoch", CellType.NUMBER),
        Column("ADDRESSES", "spec.addresses", CellType.LIST),
        AGE,
        Column("CPU", "spec.cpu", CellType.NUMBER, wide=True),
        Column("MEMORY", "spec.memory", CellType.SIZE, wide=True),
        Column("IMAGE", "spec.boot.image", wide=True),
        Column("SINCE", "status.since", CellType.MOMENT, wide=True),
        Column("MESSAGE", "status.message", wide=True),
        LABELS,
    ),
    writer=Writer.OPERATOR,
    model=Resource[VirtualMachineSpec],
    spec=VirtualMachineSpec,
    sources=(
        layout.RESOURCES,
        layout.LEASES,
        layout.TICKETS,
        layout.ASSIGNMENTS,
        layout.REPORTS,
        layout.STATUS,
    ),
    kept=("running",),
)
APPLICATION = Kind(
    name="Application",
    singular="application",
    plural="applications",
    short_names=("app", "apps"),
    doc="A named group of guests that moves as one.",
    columns=(
        NAME,
        Column("READY", "status.ready"),
        Column("SITE", "status.site"),
        Column("PREFERRED", "spec.preferredSite"),
        Column("EPOCH", "status.epoch", CellType.NUMBER),
        Column("STATE", "status.phase"),
        Column("TICKET", "status.ticket"),
        Column("PROTECTION", "spec.protection"),
        Column("REPLICA-AGE", "status.replicaAgeSeconds", CellType.SECONDS),
        AGE,
        Column("UNSHIPPED", "status.unshippedBytes", CellType.SIZE, wide=True),
        Column("GUESTS", "status.guestNames", CellType.LIST, wide=True),
        Column("ALARM", "status.alarm", wide=True),
        LABELS,
    ),
    writer=Writer.OPERATOR,
    model=Resource[ApplicationSpec],
    spec=ApplicationSpec,
    sources=(
        layout.RESOURCES,
        layout.LEASES,
        layout.TICKETS,
        layout.ASSIGNMENTS,
        layout.REPORTS,
        layout.VOLUMES,
        layout.CUTS,
        layout.REPLICAS,
        layout.STATUS,
    ),
)
PROTECTION_POLICY = Kind(
    name="ProtectionPolicy",
    singular="protectionpolicy",
    plural="protectionpolicies",
    short_names=("policy", "policies", "pp"),
    doc="How much may be lost when a site is, and who decides to fail over.",
    columns=(
        NAME,
        Column("RECOVERY-POINT", "spec.recoveryPoint", CellType.SECONDS),
        Column("CONSISTENCY", "spec.consistency"),
        Column("FAILOVER", "spec.failover"),
        Column("USED-BY", "status.usedBy", CellType.NUMBER),
        AGE,
        Column("BANDWIDTH", "spec.bandwidthLimit", CellType.SIZE, wide=True),
        LABELS,
    ),
    writer=Writer.OPERATOR,
    model=Resource[ProtectionPolicySpec],
    spec=ProtectionPolicySpec,
    sources=(layout.RESOURCES,),
)
VOLUME = Kind(
    name="Volume",
    singular="volume",
    plural="volumes",
    short_names=("vol", "vols"),
    doc="A guest's disk: where it is written, and how far its copy is behind.",
    columns=(
        NAME,
        Column("GUEST", "status.guest"),
        Column("APPLICATION", "status.application"),
        Column("SITE", "status.site"),
        Column("EPOCH", "status.epoch", CellType.NUMBER),
        Column("SIZE", "status.sizeBytes", CellType.SIZE),
        Column("REPLICA-SITE", "status.replicaSite"),
        Column("AGE", "status.replicaAgeSeconds", CellType.SECONDS),
        Column("UNSHIPPED", "status.unshippedBytes", CellType.SIZE),
        Column("STATE", "status.state"),
        Column("IMAGE", "status.image", wide=True),
        Column("CONSISTENT", "status.consistent", wide=True),
        Column("MESSAGE", "status.message", wide=True),
    ),
    writer=Writer.NOBODY,
    sources=(layout.RESOURCES, layout.TICKETS, layout.VOLUMES, layout.CUTS, layout.REPLICAS),
)
REPLICA = Kind(
    name="Replica",
    singular="replica",
    plural="replicas",
    short_names=("rep",),
    doc="A volume's copy on the other site, with the time of its last complete snapshot.",
    columns=(
        NAME,
        Column("APPLICATION", "status.application"),
        Column("SITE", "status.site"),
        Column("EPOCH", "status.epoch", CellType.NUMBER),
        Column("SNAPSHOT", "status.snapshot"),
        Column("AGE", "status.ageSeconds", CellType.SECONDS),
        Column("RECEIVING", "status.receiving"),
        Column("SHIPPED", "status.shippedBytes", CellType.SIZE),
        Column("ERROR", "status.error"),
        Column("IMAGE", "status.image", wide=True),
        Column("CONSISTENT", "status.consistent", wide=True),
    ),
    writer=Writer.NOBODY,
    sources=(layout.REPLICAS,),
)
TICKET = Kind(
    name="Ticket",
    singular="ticket",
    plural="tickets",
    short_names=("tkt",),
    doc="The right to run one application: which site, which epoch.",
    columns=(
        NAME,
        Column("SITE", "status.site"),
        Column("EPOCH", "status.epoch", CellType.NUMBER),
        Column("PHASE", "status.phase"),
        Column("TO", "status.to"),
        Column("SINCE", "status.since", CellType.MOMENT),
        Column("REASONS", "status.reasons", CellType.LIST, wide=True),
    ),
    writer=Writer.NOBODY,
    sources=(layout.TICKETS,),
)
ASSIGNMENT = Kind(
    name="Assignment",
    singular="assignment",
    plural="assignments",
    short_names=("asg",),
    doc="Which host runs a guest, under which ticket.",
    columns=(
        NAME,
        Column("HOST", "status.host"),
        Column("TARGET", "status.target"),
        Column("APPLICATION", "status.application"),
        Column("EPOCH", "status.epoch", CellType.NUMBER),
        Column("RUNNING", "status.running", CellType.FLAG),
        Column("GENERATION", "status.generation", CellType.NUMBER),
        Column("REASONS", "status.reasons", CellType.LIST, wide=True),
    ),
    writer=Writer.NOBODY,
    sources=(layout.ASSIGNMENTS,),
)
QUARANTINE = Kind(
    name="Quarantine",
    singular="quarantine",
    plural="quarantines",
    short_names=("held",),
    doc="What a returning site still had, held until it agrees with the tickets.",
    columns=(
        NAME,
        Column("WHAT", "status.what"),
        Column("SITE", "status.site"),
        Column("APPLICATION", "status.application"),
        Column("EPOCH", "status.epoch", CellType.NUMBER),
        Column("STATE", "status.state"),
        Column("DIVERGED", "status.divergedBytes", CellType.SIZE),
        Column("SINCE", "status.since", CellType.MOMENT),
        Column("HOST", "status.host", wide=True),
        Column("IMAGE", "status.image", wide=True),
        Column("REASON", "status.reason", wide=True),
    ),
    writer=Writer.NOBODY,
    sources=(layout.QUARANTINE,),
)

DECLARED = (SITE, HOST, IMAGE, PROTECTION_POLICY, VIRTUAL_MACHINE, APPLICATION)
"""In the order in which they can be created one by one; the reverse is an order for deletion."""
SHOWN = (VOLUME, REPLICA, TICKET, ASSIGNMENT, QUARANTINE)
KINDS = (*DECLARED, *SHOWN)

_BY_WORD = {word: kind for kind in KINDS for word in kind.words}
_BY_NAME = {kind.name: kind for kind in KINDS}


def find_kind(word: str) -> Kind | None:
    """By name, singular, plural or short name, in any case."""
    return _BY_WORD.get(word.lower())


def kind_named(name: str) -> Kind | None:
    """By its exact name, as in a document's ``kind``."""
    return _BY_NAME.get(name)


def nearest_kinds(word: str) -> tuple[str, ...]:
    """What a person may have meant: names of kinds, the best first."""
    words = difflib.get_close_matches(word.lower(), _BY_WORD, n=3, cutoff=0.6)
    return tuple(dict.fromkeys(_BY_WORD[found].name for found in words))
