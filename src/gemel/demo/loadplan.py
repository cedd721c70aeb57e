"""What the outside client is to do: plain data, handed to its process as JSON. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gemel.demo.pgbench import Database

DATABASE = "database"
DEPOSIT = "deposit"
SHOP = "shop"
PGBENCH = "pgbench"
WRITES = "demo_writes"
"""The table of the small writer: one row an acknowledged commit."""
CREATE_WRITES = f"CREATE TABLE IF NOT EXISTS {WRITES} (seq bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
PRESENT = f"SELECT 'sql-' || seq FROM {WRITES} UNION ALL SELECT ref FROM ledger WHERE ref LIKE 'web-%'"
"""Ids of all writes that the database has, of the writer and of the web tier."""


@dataclass(frozen=True, slots=True)
class Page:
    """Asked for again and again: a target by the name of its guest."""

    target: str
    address: str
    path: str = "/"
    every: float = 0.5


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """``seconds`` bounds everything: the client ends by itself. ``every`` are seconds between two attempts."""

    output: str
    seconds: float
    pages: tuple[Page, ...]
    deposits: tuple[str, ...]
    """Addresses of web guests, in turn."""
    shop: str
    database: Database
    passfile: str
    deposit_every: float = 1.0
    order_every: float = 0.5
    write_every: float = 0.15
    bench_clients: int = 2
    bench_rate: float = 5.0


def render_plan(plan: LoadPlan) -> str:
    return json.dumps(asdict(plan))


def parse_plan(text: str) -> LoadPlan:
    raw: Mapping[str, Any] = json.loads(text)
    made = {
        "pages": tuple(Page(**page) for page in raw["pages"]),
        "deposits": tuple(raw["deposits"]),
        "database": Database(**raw["database"]),
    }
    return LoadPlan(**{**raw, **made})
