"""How far two labellers agree: a table of counts, the share of equal labels, and Cohen's kappa.

    kappa = (observed - expected) / (1 - expected)          Cohen 1960; expected from the margins of the table

1 is full agreement, 0 what two labellers with these habits would reach by chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from datagen.records.trajectory import StepLabel

LABELS = ("UNIQUESEARCH", "REDUNDANTSEARCH", "EXPLORATION", "VERIFICATION", "REDUNDANTQUERY")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of (first labeller's label, second labeller's label) over calls that both labelled."""

    table: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, pairs: Iterable[tuple[Sequence[StepLabel], Sequence[StepLabel]]]) -> Agreement:
        """From labelled attempts; both labellers have one entry for each call."""
        counts: Counter[tuple[str, str]] = Counter()
        for one, other in pairs:
            for a, b in zip(one, other, strict=True):
                if a.label is not None and b.label is not None:
                    counts[a.label, b.label] += 1
        return cls(dict(counts))

    @property
    def calls(self) -> int:
        return sum(self.table.values())

    @property
    def observed(self) -> float | None:
        """Share of equal labels."""
        return sum(n for (a, b), n in self.table.items() if a == b) / self.calls if self.calls else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa; None for no calls, and where both only ever say one and the same label."""
        observed = self.observed
        if observed is None:
            return None
        expected = sum(self.first(name) * self.second(name) for name in LABELS) / self.calls**2
        return None if expected == 1 else (observed - expected) / (1 - expected)

    def first(self, label: str) -> int:
        return sum(n for (a, _), n in self.table.items() if a == label)

    def second(self, label: str) -> int:
        return sum(n for (_, b), n in self.table.items() if b == label)

    def of_label(self, label: str) -> float | None:
        """Share of calls with the label from either side that have it from both (Jaccard)."""
        both = self.table.get((label, label), 0)
        either = self.first(label) + self.second(label) - both
        return both / either if either else None

    def rows(self) -> list[tuple[str | int | float, ...]]:
        """A row for each label of the first labeller: counts of the second's, the sum, and the share of agreement."""
        made: list[tuple[str | int | float, ...]] = []
        for name in LABELS:
            share = self.of_label(name)
            counts = [self.table.get((name, other), 0) for other in LABELS]
            made.append((name, *counts, sum(counts), "-" if share is None else f"{share:.0%}"))
        return made
