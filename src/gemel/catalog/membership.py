"""Which applications select a guest. Pure, and quick for many of both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gemel.core.resource import Selector


@dataclass(frozen=True)
class Membership:
    """Selectors by one of their labels: a guest is held only against those that it could match."""

    _by_label: Mapping[tuple[str, str], tuple[tuple[str, Selector], ...]]

    @classmethod
    def of(cls, selectors: Iterable[tuple[str, Selector]]) -> "Membership":
        found: dict[tuple[str, str], list[tuple[str, Selector]]] = {}
        for name, selector in selectors:
            found.setdefault(min(selector.match_labels.items()), []).append((name, selector))
        return cls({label: tuple(each) for label, each in found.items()})

    def claims(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Names of all that select these labels, in order."""
        near = (each for label in labels.items() for each in self._by_label.get(label, ()))
        return tuple(sorted(name for name, selector in near if selector.matches(dict(labels))))
