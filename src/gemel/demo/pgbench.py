"""pgbench's words: its command line, and what it says while it runs. Pure.

Formats are those of pgbench 15 (src/bin/pgbench/pgbench.c: printProgressReport, and the messages of a client
that gives up).
"""

import re
from dataclasses import dataclass
from pathlib import Path

BIN = Path("/usr/lib/postgresql/15/bin")
"""Debian's own programs; what is on the path is a script that looks for them."""

_FILL_PATIENCE = 30
"""Seconds. Filling tables sends faster than the guest may write them down."""
_PROGRESS = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps\b.*?(?:, (\d+) failed)?(?:,|$)")
_FAILED = re.compile(r"\b(\d+) failed\b")
_ABORT = re.compile(r"client \d+ (aborted|failed)|error: client|Run was aborted|connection to server .* failed", re.I)


@dataclass(frozen=True, slots=True)
class Database:
    """How to reach a database; the password is in a file, never here."""

    host: str
    name: str
    user: str
    port: int = 5432

    def conninfo(self, patience: int = 5) -> str:
        """A libpq connection string that gives up a silent other side after ``patience`` seconds: longer than
        an emulated guest on a busy machine may take to read, shorter than any failover."""
        words = {
            "host": self.host,
            "port": self.port,
            "dbname": self.name,
            "user": self.user,
            "connect_timeout": 2,
            "tcp_user_timeout": patience * 1000,
            "keepalives_idle": 1,
            "keepalives_interval": 1,
            "keepalives_count": patience,
            "sslmode": "disable",
            "application_name": "outside",
        }
        return " ".join(f"{key}={value}" for key, value in words.items())


@dataclass(frozen=True, slots=True)
class Tick:
    """A second of pgbench. ``failed`` counts since the last tick."""

    tps: float
    failed: int


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A client ended in the middle of a transaction, or never connected."""

    why: str


def render_initialise(database: Database, scale: int) -> list[str]:
    return [str(BIN / "pgbench"), "-i", "-q", "-s", str(scale), database.conninfo(_FILL_PATIENCE)]


def render_load(database: Database, clients: int, rate: float, seconds: int) -> list[str]:
    """The built-in TPC-B. ``-n``: without it each start would empty the history, and the sums could not agree."""
    return [
        str(BIN / "pgbench"), "-n", "-c", str(clients), "-j", "1", "-R", f"{rate:g}", "-T", str(seconds),
        "-P", "1", database.conninfo(),
    ]  # fmt: skip


def render_query(database: Database, sql: str) -> list[str]:
    return [*render_session(database), "-c", sql]


def render_session(database: Database) -> list[str]:
    """psql that reads statements from its standard input and ends at the first error."""
    return [str(BIN / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database.conninfo()]


def render_passfile(database: Database, password: str) -> str:
    """A line of a .pgpass file (colons and backslashes are escaped)."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"{database.host}:{database.port}:{database.name}:{database.user}:{escaped}\n"


def parse_line(line: str) -> Tick | GaveUp | None:
    """A line of what pgbench says while it runs; None for what tells nothing."""
    progress = _PROGRESS.search(line)
    if progress:
        failed = _FAILED.search(line)
        return Tick(float(progress[2]), int(failed[1]) if failed else 0)
    if _ABORT.search(line):
        return GaveUp(" ".join(line.split())[:300])
    return None
