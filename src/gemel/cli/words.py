"""Pure: what a person typed to kinds and names: ``vm``, ``vm bank-db``, ``vm/bank-db``, ``vm,vol``, ``all``."""

from collections.abc import Sequence
from dataclasses import dataclass

from gemel.catalog.kind import Kind
from gemel.catalog.registry import DECLARED, KINDS, find_kind, nearest_kinds
from gemel.cli.exits import CommandFailed, Exit

ALL = "all"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One kind, and the names asked for; none means all."""

    kind: Kind
    names: tuple[str, ...] = ()


def parse_kind(word: str) -> Kind:
    kind = find_kind(word)
    if kind is not None:
        return kind
    near = nearest_kinds(word)
    hint = f"did you mean {' or '.join(near)}?" if near else f"kinds: {', '.join(kind.plural for kind in KINDS)}"
    raise CommandFailed(Exit.USAGE, f"there is no kind {word!r}", hint)


def parse_wanted(words: Sequence[str]) -> tuple[Wanted, ...]:
    """Raises CommandFailed(USAGE) for what cannot be understood."""
    if not words:
        raise CommandFailed(Exit.USAGE, "which kind?", f"kinds: {', '.join(kind.plural for kind in KINDS)}")
    first, rest = words[0], tuple(words[1:])
    if "/" in first:
        return _pairs(words)
    if first.lower() == ALL:
        if rest:
            raise CommandFailed(Exit.USAGE, "'all' takes no names")
        return tuple(Wanted(kind) for kind in DECLARED)
    kinds = [parse_kind(word) for word in first.split(",") if word]
    if rest and len(kinds) > 1:
        raise CommandFailed(Exit.USAGE, "names need one kind", "write KIND/NAME KIND/NAME for several kinds")
    for name in rest:
        if "/" in name:
            raise CommandFailed(Exit.USAGE, f"{name!r} is not a name", "write KIND NAME, or KIND/NAME alone")
    return tuple(Wanted(kind, rest) for kind in kinds)


def parse_one(words: Sequence[str]) -> tuple[Kind, str]:
    """Exactly one object."""
    wanted = parse_wanted(words)
    if len(wanted) != 1 or len(wanted[0].names) != 1:
        raise CommandFailed(Exit.USAGE, "name one object", "write KIND NAME or KIND/NAME, such as vm/bank-db")
    return wanted[0].kind, wanted[0].names[0]


def _pairs(words: Sequence[str]) -> tuple[Wanted, ...]:
    pairs = []
    for word in words:
        kind, slash, name = word.partition("/")
        if not slash or not name or "/" in name:
            raise CommandFailed(Exit.USAGE, f"{word!r} is not KIND/NAME")
        pairs.append(Wanted(parse_kind(kind), (name,)))
    return tuple(pairs)
