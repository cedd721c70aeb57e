"""Who is asking: bearer tokens, kept as digests in a file that only its owner reads.

    tokens:
      - {user: alice, role: admin, sha256: 5e88489...}

The file is read again when it changes, so that a token is withdrawn without a restart.
"""

import hashlib
import hmac
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gemel.core import logs
from gemel.core.outcome import Permanent

log = logs.get("gemel.api.tokens")


class Role(IntEnum):
    """Each may do what the ones before may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Identity:
    user: str
    role: Role


@dataclass(frozen=True, slots=True)
class Entry:
    digest: str
    identity: Identity


def digest_of(token: str) -> str:
    """Hexadecimal SHA-256: tokens are long and random, so that no slow hash is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def new_token() -> str:
    return secrets.token_urlsafe(32)


class Tokens:
    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(entries)

    def identify(self, token: str) -> Identity | None:
        """Takes as long for a wrong token as for any right one."""
        digest, found = digest_of(token), None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.identity
        return found


class _EntryFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    role: Annotated[str, StringConstraints(pattern=r"^(viewer|operator|admin)$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _TokensFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: list[_EntryFile]


def load_tokens(path: Path) -> Tokens:
    """Raises Permanent when the file is missing, wrong, or readable by others."""
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Permanent(f"{path} can be read by others (mode {mode & 0o777:o}): run chmod 600 {path}")
        found = _TokensFile.model_validate(YAML(typ="safe", pure=True).load(path.read_text()))
    except (OSError, YAMLError) as error:
        raise Permanent(f"cannot read the tokens file {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise Permanent(f"{path}: {where}: {first['msg']}") from error
    return Tokens(Entry(each.sha256, Identity(each.user, Role[each.role.upper()])) for each in found.tokens)


class TokenFile:
    """Tokens as the file says them now. A file that became wrong changes nothing, and is logged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens = load_tokens(path)
        self._seen = self._stamp()

    def identify(self, token: str) -> Identity | None:
        stamp = self._stamp()
        if stamp is not None and stamp != self._seen:
            self._seen = stamp
            try:
                self._tokens = load_tokens(self._path)
            except Permanent as error:
                log.error("tokens file not taken over", error=str(error))
        return self._tokens.identify(token)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
