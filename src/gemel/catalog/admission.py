"""May these documents be applied to this region? Pure: documents and what exists in, problems out.

Each document is first checked for its shape, then the sound ones against the region as it would be with all
of them. Everything that is wrong is said at once; nothing is applied unless nothing is wrong.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gemel.catalog import addresses, groups, references, sizes
from gemel.catalog.manifest import Document, Problem
from gemel.catalog.shape import Sound, check_shape, claimed
from gemel.catalog.world import Place, World

Check = Callable[[Sound, World, World], Iterator[Problem]]
"""A sound document, the region as it is, the region as it would be."""

CHECKS: tuple[Check, ...] = (
    references.check_references,
    references.check_immutable,
    addresses.check_addresses,
    sizes.check_sizes,
    groups.check_groups,
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Sound documents in their order, and what is wrong with any of them. Apply only without problems."""

    sound: tuple[Sound, ...]
    problems: tuple[Problem, ...]


def check_documents(documents: Sequence[Document], existing: World) -> tuple[Problem, ...]:
    """Everything that is wrong, in the order of the documents."""
    return admit(documents, existing).problems


def admit(documents: Sequence[Document], existing: World) -> Admitted:
    sound: list[Sound] = []
    problems: list[Problem] = []
    for document in documents:
        shape = check_shape(document)
        if isinstance(shape, Sound):
            sound.append(_with_kept(shape, existing))
        else:
            problems.extend(shape)
    problems += _duplicates(sound)
    claims = frozenset(place for document in documents if (place := claimed(document)))
    world = existing.after((each.resource for each in sound), claims)
    for each in sound:
        for check in CHECKS:
            problems += check(each, existing, world)
    return Admitted(tuple(sound), _in_order(problems, documents))


def _with_kept(sound: Sound, existing: World) -> Sound:
    """What start, stop, drain and resume changed stays as it is, unless the document says otherwise."""
    before = existing.resources.get(sound.place)
    kept = [field for field in sound.kind.kept if field not in sound.given]
    if before is None or not kept:
        return sound
    values = {field: getattr(before.spec, field) for field in kept}
    spec = sound.resource.spec.model_copy(update=values)
    return replace(sound, resource=sound.resource.model_copy(update={"spec": spec}))


def _duplicates(sound: Iterable[Sound]) -> Iterator[Problem]:
    first: dict[Place, Sound] = {}
    for each in sound:
        earlier = first.setdefault(each.place, each)
        if earlier is not each:
            where = f"{earlier.document.file} document {earlier.document.index}"
            yield each.problem(
                "metadata.name", f"{each.kind.name} {each.name} is declared twice, first in {where}", "one of them"
            )


def _in_order(problems: Iterable[Problem], documents: Sequence[Document]) -> tuple[Problem, ...]:
    order = {(document.file, document.index): at for at, document in enumerate(documents)}
    unique = dict.fromkeys(problems)
    return tuple(sorted(unique, key=lambda each: order.get((each.file, each.document), len(order))))
