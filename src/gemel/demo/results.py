"""What each step found out. Frozen data; a field is None when it could not be measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ground:
    """The region stands. Seconds: for the guest images (cached or built), for the lab."""

    images_seconds: float
    lab_seconds: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """Applications answer and are under load; their volumes have a complete copy on the other site."""

    applications_seconds: float
    protected_seconds: float


@dataclass(frozen=True, slots=True)
class LiveMigration:
    """``downtime_ms`` is QEMU's own figure; ``longest_gap_ms`` the longest time between two acknowledged
    commits of the outside client, its own pause between two writes included."""

    guest: str
    source: str
    target: str
    began: float
    ended: float
    downtime_ms: float | None
    longest_gap_ms: float | None
    failed_requests: int
    failed_transactions: int


@dataclass(frozen=True, slots=True)
class HostLoss:
    """``seconds_to_answer``: from the loss of power to the first answer of the guest that ran there."""

    host: str
    guest: str
    began: float
    powered: float
    seconds_to_answer: float
    landed_on: str


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the way back to an answer, and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SiteLoss:
    """``dark``: when nothing passed any more. ``seconds_to_answer``: from the cut to the first acknowledged
    commit. ``replica_age_seconds``: at the cut, of the moment that the other site went on from. ``holes``:
    lost writes that are older than a kept one."""

    site: str
    survivor: str
    began: float
    dark: float
    seconds_to_answer: float
    web_seconds_to_answer: float
    breakdown: tuple[Span, ...]
    acknowledged_writes: int
    acknowledged_writes_lost: int
    holes: int
    replica_age_seconds: float | None
    oldest_lost_write_age_seconds: float | None
    balances_agree: bool
    transactions_kept: int
    other_application_failures: int


@dataclass(frozen=True, slots=True)
class Homecoming:
    """``quarantined``: records of this return, guests and volumes. ``stale_guests`` of them were to be held."""

    healed: float
    ended: float
    quarantined: int
    guests_held: int
    stale_guests: int
    salvaged_bytes: int | None


@dataclass(frozen=True, slots=True)
class FailBack:
    """Bytes: ``bytes_changed`` in the differences since the common snapshot as their writer measured them,
    ``bytes_copied`` of what was imported, ``wire_bytes`` on the link, ``volume_bytes`` of the whole volumes.
    ``downtime_seconds``: from the last acknowledged commit before the move to the first one after it."""

    began: float
    ended: float
    bytes_changed: int | None
    bytes_copied: int | None
    wire_bytes: int | None
    volume_bytes: int
    downtime_seconds: float | None
    acknowledged_writes: int
    acknowledged_writes_lost: int
    balances_agree: bool

    @property
    def ratio(self) -> float | None:
        if self.bytes_changed is None or self.bytes_copied is None or not self.bytes_changed:
            return None
        return self.bytes_copied / self.bytes_changed


@dataclass(frozen=True, slots=True)
class RunHistory:
    """``double_runs`` proves something only when the recorder looked all the time (``gaps`` is empty) and saw
    every guest run (``unseen`` is empty)."""

    double_runs: int
    runs_seen: int
    gaps: tuple[str, ...]
    unseen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything; None for a step that did not succeed."""

    ground: Ground | None = None
    loaded: Loaded | None = None
    live_migration: LiveMigration | None = None
    host_loss: HostLoss | None = None
    site_loss: SiteLoss | None = None
    homecoming: Homecoming | None = None
    failback: FailBack | None = None
    history: RunHistory | None = None
