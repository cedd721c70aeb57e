"""What systemd would start, read from the units that production uses. Pure but for reading the file."""

import configparser
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import gemel
from gemel.core.outcome import Permanent

REPOSITORY = Path(gemel.__file__).resolve().parents[2]
UNITS = REPOSITORY / "packaging" / "systemd"


@dataclass(frozen=True, slots=True)
class Unit:
    argv: tuple[str, ...]
    nice: int


def parse_unit(text: str) -> Unit:
    """ExecStart and Nice of a service. Raises ValueError for a unit without exactly one ExecStart."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    command = parser.get("Service", "ExecStart", fallback="")
    if not command:
        raise ValueError("the unit has no ExecStart")
    return Unit(tuple(shlex.split(command)), int(parser.get("Service", "Nice", fallback="0")))


def read_unit(name: str, folder: Path = UNITS) -> Unit:
    """The unit ``gemel-<name>.service``; /usr/bin/gemel becomes the one of this installation."""
    path = folder / f"gemel-{name}.service"
    try:
        unit = parse_unit(path.read_text())
    except OSError as error:
        raise Permanent(f"the lab needs {path}: run it from a clone of the repository") from error
    program = unit.argv[0]
    if program == "/usr/bin/gemel":
        program = str(Path(sys.executable).parent / "gemel")
    return Unit((program, *unit.argv[1:]), unit.nice)
