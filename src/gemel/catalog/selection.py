"""Label selectors of lists, in kubectl's words: ``a=b,c!=d,e,!f``. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from gemel.core.outcome import Permanent


class Wants(Enum):
    EQUAL = "="
    DIFFERENT = "!="
    PRESENT = "present"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Requirement:
    label: str
    wants: Wants
    value: str = ""

    def holds(self, labels: Mapping[str, str]) -> bool:
        given = labels.get(self.label)
        if self.wants is Wants.EQUAL:
            return given == self.value
        if self.wants is Wants.DIFFERENT:
            return given != self.value
        return (given is not None) == (self.wants is Wants.PRESENT)


class BadSelector(Permanent):
    """Not a selector."""


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Raises BadSelector that names the part."""
    return tuple(_requirement(part.strip()) for part in text.split(",") if part.strip())


def _requirement(part: str) -> Requirement:
    if "!=" in part:
        label, _, value = part.partition("!=")
        found = Requirement(label.strip(), Wants.DIFFERENT, value.strip())
    elif "=" in part:
        label, _, value = part.partition("=")
        found = Requirement(label.strip(), Wants.EQUAL, value.removeprefix("=").strip())
    elif part.startswith("!"):
        found = Requirement(part[1:].strip(), Wants.ABSENT)
    else:
        found = Requirement(part, Wants.PRESENT)
    if not found.label or any(character in found.label + found.value for character in " =!()"):
        raise BadSelector(f"{part!r} is not a label selector: write a=b, a!=b, a or !a, joined by commas")
    return found


def selected(requirements: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    return all(requirement.holds(labels) for requirement in requirements)
