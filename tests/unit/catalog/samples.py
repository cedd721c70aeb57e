"""The examples as an existing region, and the table of documents that must be refused on top of it."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gemel.catalog.manifest import Document, parse_manifest

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = ("region.yaml", "images.yaml", "policy.yaml", "bank.yaml", "shop.yaml")


def documents_of(text: str, file: str = "bad.yaml") -> tuple[Document, ...]:
    manifest = parse_manifest(text, file)
    assert not manifest.problems
    return manifest.documents


@cache
def example_documents() -> tuple[Document, ...]:
    return tuple(document for name in FILES for document in documents_of((EXAMPLES / name).read_text(), name))


@dataclass(frozen=True)
class Bad:
    """``path`` and ``says`` of the one problem, or of one of them; ``right``: what it expects instead."""

    name: str
    text: str
    path: str
    says: str
    right: str = ""
    document: int = 0


def vm(spec: str, name: str = "extra", labels: str = "{}", memory: str = "memory: 96Mi, ") -> str:
    head = f"apiVersion: gemel/v1\nkind: VirtualMachine\nmetadata: {{name: {name}, labels: {labels}}}\n"
    boot = "" if "boot:" in spec else "boot: {image: tiny}, "
    return f"{head}spec: {{{memory}{boot}{spec}}}\n"


def resource(kind: str, name: str, spec: str) -> str:
    return f"apiVersion: gemel/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


def app(spec: str, name: str = "extra") -> str:
    return resource("Application", name, spec)


def host(spec: str, name: str = "par1-9") -> str:
    return resource("Host", name, spec)


def tier(name: str, labels: str, after: str = "") -> str:
    return f"{{name: {name}, selector: {{matchLabels: {{{labels}}}}}, after: [{after}]}}"


def tiers(*each: str) -> str:
    return f", tiers: [{', '.join(each)}]"


NODIGEST = resource("Image", "plain", "os: x, disk: plain.raw, diskSize: 64Mi")
GROUP = "selector: {matchLabels: {app: extra}}, preferredSite: par1"
DIGEST = "sha256:" + "0" * 64

SHAPE = (
    Bad("not a mapping", "just text", "", "is a mapping, not text"),
    Bad("a list", "[1, 2]", "", "is a mapping, not a list"),
    Bad("no apiVersion", "kind: Site", "apiVersion", "is missing", "gemel/v1"),
    Bad("foreign apiVersion", "apiVersion: v1\nkind: Site", "apiVersion", "'v1' is not known", "gemel/v1"),
    Bad("no kind", "apiVersion: gemel/v1", "kind", "is missing", "VirtualMachine"),
    Bad(
        "misspelt kind", "apiVersion: gemel/v1\nkind: VirtualMachin", "kind", "no kind", "did you mean VirtualMachine?"
    ),
    Bad("foreign kind", "apiVersion: gemel/v1\nkind: Deployment", "kind", "no kind 'Deployment'"),
    Bad("shown kind", "apiVersion: gemel/v1\nkind: Ticket", "kind", "cannot be declared"),
    Bad("no metadata", "apiVersion: gemel/v1\nkind: Site\nspec: {}", "metadata", "is missing"),
    Bad("no name", "apiVersion: gemel/v1\nkind: Site\nmetadata: {}\nspec: {}", "metadata.name", "is missing"),
    Bad("no spec", "apiVersion: gemel/v1\nkind: Site\nmetadata: {name: a}", "spec", "is missing"),
    Bad("bad name", resource("Site", "Par_1", ""), "metadata.name", "'Par_1' is not allowed", "lower-case"),
    Bad("number as name", resource("Site", "5", ""), "metadata.name", "is a number, not text", 'quotes, "5"'),
    Bad("label of a number", vm("cpu: 1", labels="{tier: 5}"), "metadata.labels.tier", "is a number, not text"),
    Bad("bad label", vm("cpu: 1", labels="{tier: 'a b'}"), "metadata.labels.tier", "'a b' is not allowed"),
    Bad("unknown field", vm("cpus: 1"), "spec.cpus", "unknown field cpus", "did you mean cpu?"),
    Bad(
        "unknown field of a disk",
        vm("disks: [{name: a, size: 1Gi}, {name: b, size: 1Gi, imgae: tiny}]"),
        "spec.disks[1].imgae",
        "unknown field imgae",
        "did you mean image?",
    ),
    Bad(
        "unknown field of metadata",
        "apiVersion: gemel/v1\nkind: Site\nmetadata: {name: a, nam: b}\nspec: {}",
        "metadata.nam",
        "unknown field",
    ),
    Bad("size without unit", vm("cpu: 1", memory="memory: 4096, "), "spec.memory", "4096 is not a size", "4Gi"),
    Bad("size of another unit", vm("cpu: 1", memory="memory: 4GB, "), "spec.memory", "'4GB' is not a size", "Gi"),
    Bad("fraction of a size", vm("disks: [{name: a, size: 1.5Gi}]"), "spec.disks[0].size", "is not a size"),
    Bad("too little memory", vm("cpu: 1", memory="memory: 16Mi, "), "spec.memory", "out of range", "at least 32Mi"),
    Bad("cpu as text", vm("cpu: 'two'"), "spec.cpu", "two is not a whole number"),
    Bad("no cpu at all", vm("cpu: 0"), "spec.cpu", "out of range", "more than 0"),
    Bad("yes is no flag", vm("running: yes"), "spec.running", "yes is not true or false"),
    Bad("address with a typo", vm("addresses: [198.19.1.300]"), "spec.addresses[0]", "198.19.1.300", "an IPv4 address"),
    Bad(
        "duration without unit",
        resource("ProtectionPolicy", "p", "recoveryPoint: 20"),
        "spec.recoveryPoint",
        "20 is not a duration",
        "20s",
    ),
    Bad(
        "too short a recovery point",
        resource("ProtectionPolicy", "p", "recoveryPoint: 1s"),
        "spec.recoveryPoint",
        "out of range",
        "at least 5s",
    ),
    Bad(
        "no such consistency",
        resource("ProtectionPolicy", "p", "recoveryPoint: 20s, consistency: strong"),
        "spec.consistency",
        "'strong'",
        "'crash' or 'application'",
    ),
    Bad(
        "empty selector",
        app("selector: {matchLabels: {}}, preferredSite: par1"),
        "spec.selector.matchLabels",
        "has 0 items",
    ),
    Bad(
        "prefix with host bits",
        resource("Site", "a", "prefixes: [198.19.9.5/24]"),
        "spec.prefixes[0]",
        "host bits",
        "an IPv4 prefix",
    ),
    Bad(
        "digest of another kind",
        resource("Image", "i", "os: x, kernel: k, digest: 'md5:1'"),
        "spec.digest",
        "is not allowed",
        "sha256:",
    ),
    Bad(
        "absolute path",
        resource("Image", "i", "os: x, kernel: /etc/shadow"),
        "spec.kernel",
        "is not allowed",
        "relative path",
    ),
)

REFERENCES = (
    Bad("no such image to boot", vm("boot: {image: tinny}"), "spec.boot.image", "no Image tinny", "did you mean tiny?"),
    Bad(
        "no such image of a disk",
        vm("disks: [{name: a, size: 2Gi, image: none}]"),
        "spec.disks[0].image",
        "no Image none",
    ),
    Bad(
        "disk of an image without one",
        vm("disks: [{name: a, size: 2Gi, image: tiny}]"),
        "spec.disks[0].image",
        "has no disk",
    ),
    Bad(
        "no such site to be placed", vm("placement: {site: lyo1}"), "spec.placement.site", "no Site lyo1", "gra1, par1"
    ),
    Bad(
        "no such host to be placed",
        vm("placement: {hosts: [par1-1, par1-7]}"),
        "spec.placement.hosts[1]",
        "no Host par1-7",
    ),
    Bad(
        "host of another site", vm("placement: {site: par1, hosts: [gra1-1]}"), "spec.placement.hosts[0]", "is at gra1"
    ),
    Bad(
        "no such preferred site",
        app("selector: {matchLabels: {a: b}}, preferredSite: par2"),
        "spec.preferredSite",
        "no Site par2",
        "did you mean par1?",
    ),
    Bad(
        "no such policy",
        app(GROUP + ", protection: critcal"),
        "spec.protection",
        "no ProtectionPolicy critcal",
        "did you mean critical?",
    ),
    Bad("host of no site", host("site: lyo1, cpu: 1, memory: 1Gi, address: 198.18.1.19"), "spec.site", "no Site lyo1"),
    Bad(
        "two disks of one name",
        vm("disks: [{name: a, size: 1Gi}, {name: a, size: 1Gi}]"),
        "spec.disks[1].name",
        "two disks",
    ),
    Bad(
        "nothing to boot",
        resource("Image", "diskful", f"os: x, disk: d.raw, diskSize: 64Mi, digest: '{DIGEST}'")
        + "---\n"
        + vm("boot: {image: diskful}, disks: [{name: a, size: 1Gi}]"),
        "spec.boot.image",
        "nothing could boot",
        document=1,
    ),
    Bad("image of nothing", resource("Image", "i", "os: x"), "spec", "neither a kernel nor a disk"),
    Bad(
        "image that climbs out",
        resource("Image", "i", "os: x, kernel: a/../../b"),
        "spec.kernel",
        "leaves the image directory",
    ),
    Bad(
        "initrd alone",
        resource("Image", "i", "os: x, disk: d, diskSize: 1Mi, initrd: r"),
        "spec.initrd",
        "needs a kernel",
    ),
    Bad("disk of no size", resource("Image", "i", "os: x, disk: d"), "spec.diskSize", "is missing"),
    Bad("size of no disk", resource("Image", "i", "os: x, kernel: k, diskSize: 1Gi"), "spec.diskSize", "no disk"),
    Bad("variable of no shell", vm("config: {my-role: web}"), "spec.config.my-role", "cannot be a variable"),
    Bad("same name twice", vm("cpu: 1") + "---\n" + vm("cpu: 2"), "metadata.name", "declared twice", document=1),
)

IMMUTABLE = (
    Bad(
        "host changes its site",
        host("site: gra1, cpu: 4, memory: 2Gi, address: 198.18.1.11", "par1-1"),
        "spec.site",
        "cannot change",
        "par1",
    ),
    Bad(
        "image changes under its volumes",
        resource("Image", "debian-postgres", f"os: x, kernel: k, disk: d2.raw, diskSize: 1280Mi, digest: '{DIGEST}'"),
        "spec.digest",
        "cannot change while bank-db use",
        "new name",
    ),
    Bad(
        "disk changes its image",
        vm("disks: [{name: orders, size: 2Gi, image: debian-postgres}]", "shop-1"),
        "spec.disks[0].image",
        "cannot change",
    ),
    Bad(
        "disk shrinks",
        vm("disks: [{name: orders, size: 32Mi}]", "shop-1"),
        "spec.disks[0].size",
        "cannot shrink",
        "at least 64Mi",
    ),
)

ADDRESSES = (
    Bad(
        "address of another guest",
        vm("addresses: [198.19.1.10]"),
        "spec.addresses[0]",
        "taken by VirtualMachine bank-db",
    ),
    Bad("address of a host", vm("addresses: [198.18.1.11]"), "spec.addresses[0]", "taken by Host par1-1"),
    Bad("same address twice", vm("addresses: [198.19.1.50, 198.19.1.50]"), "spec.addresses[1]", "given twice"),
    Bad(
        "two guests, one address",
        vm("addresses: [198.19.1.60]", "a") + "---\n" + vm("addresses: [198.19.1.60]", "b"),
        "spec.addresses[0]",
        "taken by VirtualMachine a",
        document=1,
    ),
    Bad(
        "address of no site",
        vm("addresses: [203.0.113.5]"),
        "spec.addresses[0]",
        "outside the prefixes",
        "198.19.1.0/24 (par1)",
    ),
    Bad(
        "address of the other site",
        vm("addresses: [198.19.2.50], placement: {site: par1}"),
        "spec.addresses[0]",
        "outside the prefixes of par1",
    ),
    Bad(
        "network address",
        vm("addresses: [198.19.1.0]"),
        "spec.addresses[0]",
        "network address",
        "198.19.1.1 to 198.19.1.254",
    ),
    Bad("broadcast address", vm("addresses: [198.19.1.255]"), "spec.addresses[0]", "broadcast address"),
    Bad("gateway", vm("addresses: [169.254.1.1]"), "spec.addresses[0]", "gateway of every guest"),
    Bad(
        "host with another's address",
        host("site: par1, cpu: 1, memory: 1Gi, address: 198.18.1.12"),
        "spec.address",
        "taken by Host par1-2",
    ),
    Bad(
        "host among guests",
        host("site: par1, cpu: 1, memory: 1Gi, address: 198.19.1.99"),
        "spec.address",
        "lies in 198.19.1.0/24",
    ),
    Bad(
        "host of loopback",
        host("site: par1, cpu: 1, memory: 1Gi, address: 127.0.0.1"),
        "spec.address",
        "no address of a machine",
    ),
    Bad(
        "overlapping prefixes",
        resource("Site", "lyo1", "prefixes: [198.19.0.0/22]"),
        "spec.prefixes[0]",
        "overlaps 198.19.2.0/24 of gra1",
    ),
    Bad(
        "prefix over hosts",
        resource("Site", "lyo1", "prefixes: [198.18.1.0/24]"),
        "spec.prefixes[0]",
        "contains the address of Host par1-1",
    ),
    Bad(
        "prefix taken from guests",
        resource("Site", "par1", "prefixes: [198.19.5.0/24]"),
        "spec.prefixes",
        "bank-db has 198.19.1.10",
    ),
)

SIZES = (
    Bad("more cpu than any host", vm("cpu: 64"), "spec.cpu", "64 is more than any host has", "at most 4"),
    Bad(
        "more memory than any host",
        vm("cpu: 1", memory="memory: 64Gi, "),
        "spec.memory",
        "more than any host",
        "at most 2Gi",
    ),
    Bad(
        "disk smaller than its image",
        vm("disks: [{name: a, size: 1Gi, image: debian-postgres}]"),
        "spec.disks[0].size",
        "smaller than Image",
        "at least 1280Mi",
    ),
)

GROUPS = (
    Bad(
        "guest of two applications",
        app("selector: {matchLabels: {tier: db}}, preferredSite: par1"),
        "spec.selector",
        "bank-db is selected by bank",
    ),
    Bad(
        "labels of two applications",
        app(GROUP)
        + "---\n"
        + app("selector: {matchLabels: {x: y}}, preferredSite: par1", "other")
        + "---\n"
        + vm("cpu: 1", labels="{app: extra, x: y}"),
        "metadata.labels",
        "extra and other both select it",
        document=2,
    ),
    Bad(
        "guest of two tiers",
        app(
            "selector: {matchLabels: {app: bank}}, preferredSite: par1, protection: critical"
            + tiers(tier("a", "tier: db"), tier("b", "app: bank")),
            "bank",
        ),
        "spec.tiers[1].selector",
        "bank-db is in the tiers a and b",
    ),
    Bad(
        "no such tier",
        app(GROUP + tiers(tier("web", "t: w", "dbb"), tier("db", "t: d"))),
        "spec.tiers[0].after[0]",
        "no tier dbb",
        "did you mean db?",
    ),
    Bad(
        "tiers in a circle",
        app(GROUP + tiers(tier("a", "t: a", "b"), tier("b", "t: b", "a"))),
        "spec.tiers[0].after",
        "a -> b -> a",
    ),
    Bad(
        "tier after itself",
        app(GROUP + tiers(tier("a", "t: a", "a"))),
        "spec.tiers[0].after",
        "a -> a",
    ),
    Bad(
        "two tiers of one name",
        app(
            GROUP + ", tiers: [{name: a, selector: {matchLabels: {t: a}}}, {name: a, selector: {matchLabels: {t: b}}}]"
        ),
        "spec.tiers[1].name",
        "two tiers",
    ),
    Bad(
        "protected without digest",
        NODIGEST + "---\n" + vm("disks: [{name: a, size: 64Mi, image: plain}]", labels="{app: bank}"),
        "spec.disks[0].image",
        "has no digest",
        document=1,
    ),
    Bad(
        "protection comes, digest does not",
        NODIGEST
        + "---\n"
        + vm("disks: [{name: a, size: 64Mi, image: plain}]", labels="{app: extra}")
        + "---\n"
        + app(GROUP + ", protection: critical"),
        "spec.protection",
        "has no digest",
        document=2,
    ),
)

BAD = (*SHAPE, *REFERENCES, *IMMUTABLE, *ADDRESSES, *SIZES, *GROUPS)
