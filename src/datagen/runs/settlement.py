"""Which questions count: decided in candidate order over all shards, wave by wave, until the target is met."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from datagen.runs.directory import Run
from datagen.runs.shards import Row, Wave, missing_blocks, read_outcomes, save_wave, saved_waves
from datagen.runs.workers import Pool, ShardReport, Work

log = logging.getLogger(__name__)

SETTLED_COLUMNS = [
    "recipe",
    *(f"question.{name}" for name in ("id", "question", "answer", "answer_canonical", "answer_entity", "tree")),
]
"""What deciding needs of a row; the rest of it, evidence above all, stays on disk."""


@dataclass(slots=True)
class Settlement:
    """Which accepted candidates count, decided one by one in candidate order.

    A shard sees only its own candidates; what needs sight of all of them is decided here: a question too like an
    earlier one, and a question beyond the target of its recipe.
    """

    target: Mapping[str, int]
    is_duplicate: Callable[[Row], tuple[str, str] | None]
    """(reason, detail) when the question row repeats an earlier one, which it remembers; None to keep the row."""
    candidates: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    overruled: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    """candidate -> (gate, reason, detail), for those that a shard accepted and the settlement did not."""
    settled: int = 0
    """Candidates below this number are decided."""

    def take(self, run: Run, wave: Wave) -> None:
        """Settle one finished wave."""
        for table in read_outcomes(run, SETTLED_COLUMNS, first=wave.first, stop=wave.stop):
            for row in table.to_pylist():
                self._decide(row["candidate"], row["recipe"], row["question"])
        self.settled = wave.stop

    def _decide(self, candidate: int, recipe: str, question: Row | None) -> None:
        self.candidates[recipe] = self.candidates.get(recipe, 0) + 1
        if question is None:
            return
        if self.missing(recipe) == 0:
            self.overruled[candidate] = ("target", "surplus", f"the run already had its {self.target[recipe]}")
            return
        duplicate = self.is_duplicate(question)
        if duplicate is not None:
            self.overruled[candidate] = ("duplicates", *duplicate)
            return
        self.accepted[recipe] = self.accepted.get(recipe, 0) + 1

    def missing(self, recipe: str) -> int:
        """Questions of a recipe still to find."""
        return max(0, self.target.get(recipe, 0) - self.accepted.get(recipe, 0))

    @property
    def complete(self) -> bool:
        return not any(self.missing(recipe) for recipe in self.target)

    def next_wave(self, run: Run, index: int) -> Wave | None:
        """Slots for what is missing, at the yield seen so far with a tenth to spare, `wave_size` in all at most.

        None when nothing is missing, or what is missing has had its `max_candidates_per_question`. Whole numbers
        throughout: the plan must be the same on every machine.
        """
        limit = run.config.run.max_candidates_per_question
        wanted = {recipe: self._slots_wanted(recipe, limit) for recipe in sorted(self.target)}
        total, room = sum(wanted.values()), run.config.run.wave_size
        if total > room:
            wanted = {recipe: -(-count * room // total) for recipe, count in wanted.items()}
        slots = tuple((recipe, count) for recipe, count in wanted.items() if count > 0)
        return Wave(index, self.settled, slots) if slots else None

    def _slots_wanted(self, recipe: str, limit: int) -> int:
        made, kept = self.candidates.get(recipe, 0), self.accepted.get(recipe, 0)
        expected = -(-11 * self.missing(recipe) * (made + 2) // (10 * (kept + 1)))
        return min(expected, limit * self.target[recipe] - made)


class Watch(Protocol):
    """Who wants to know how a run goes: a progress bar, a flow's artifacts, nobody."""

    def standing(self, settlement: Settlement) -> None:
        """Called before the first wave and after every wave; what it shows is exact."""
        ...

    def shard_finished(self, report: ShardReport) -> None:
        """Called in between; duplicates and surplus are not taken off yet."""
        ...


class Unwatched:
    """Nobody."""

    def standing(self, settlement: Settlement) -> None: ...

    def shard_finished(self, report: ShardReport) -> None: ...


def carry_out(run: Run, settlement: Settlement, *, pool: Pool, work: Work, watch: Watch) -> None:
    """Make waves until the target is met or given up; what is on disk already is settled without being made again."""
    saved = saved_waves(run)
    watch.standing(settlement)
    for index in itertools.count():
        wave = saved[index] if index < len(saved) else settlement.next_wave(run, index)
        if wave is None:
            return
        if index >= len(saved):
            save_wave(run, wave)
        for report in pool(work, run.directory, missing_blocks(run, wave)):
            watch.shard_finished(report)
        settlement.take(run, wave)
        log.info("wave %d: accepted %s of %s", index, settlement.accepted, dict(settlement.target))
        watch.standing(settlement)
