"""Typed identities. A name is a DNS label: lower case, digits and hyphens, at most 63 characters."""

import re
from typing import Annotated, NewType

from pydantic import StringConstraints

SiteName = NewType("SiteName", str)
HostName = NewType("HostName", str)
GuestName = NewType("GuestName", str)
AppName = NewType("AppName", str)
VolumeName = NewType("VolumeName", str)
Incarnation = NewType("Incarnation", str)
"""One life of a host's lease: a fresh random identity each time the host takes a new lease."""
Epoch = NewType("Epoch", int)
"""A ticket's number; grows at every move; an older one is refused everywhere."""
Revision = NewType("Revision", int)
"""A revision of the region store: total order over everything committed."""

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
NAME = re.compile(NAME_PATTERN)
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def volume_name(guest: str, disk: str) -> VolumeName:
    """The volume behind a guest's disk: ``<guest>.<disk>`` (a dot cannot occur in a name, so it is unique)."""
    return VolumeName(f"{guest}.{disk}")


def lone_application(guest: str) -> AppName:
    """The implicit application of a guest that no Application selects: it has a ticket, but no protection."""
    return AppName(f"vm.{guest}")
