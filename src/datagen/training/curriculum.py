"""Which questions are drawn: every one once per epoch, in a seeded order, and those that are solved no longer.

    pool = QuestionPool(ids, PoolSettings(batch=32, seed=7))
    while not pool.epoch_done:
        questions = pool.draw()                  32 ids; fewer where the epoch ends
        ...                                      attempts, graded
        pool.tally(count_successes(groups))      as they were sampled, before replay puts anything into them
    pool.end_epoch()                             leaves out of epochs to come what 9 of 10 attempts solved

Pruning is part (a) of RAPO (Fathom-DeepResearch, arXiv 2509.24107; fathom.md §2.3): a question is left out once its success
rate in an epoch reaches `threshold`. The paper writes the rate over "reward > 0", which a well-formed wrong attempt passes
as well, so success is a right answer by default and the paper's letter an option. `min_pool` holds a floor: of what would
be pruned, the hardest stay.

What is decided lives in the loader's `Curriculum`, with which rows can be reweighted or taken out from elsewhere as well; the
order is the loader's too. On several ranks each holds the same pool and is told the tallies of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from datagen.dataset.streaming.curriculum import Curriculum, Selection
from datagen.dataset.streaming.order import EpochOrder
from datagen.errors import TrainingError
from datagen.records.ids import content_id, seed_for
from datagen.training.rollout import Group, Rollout

STATE_VERSION = 1
SolvedBy = Literal["answer", "reward"]
Tallies = Mapping[str, tuple[int, int]]
"""By question: attempts that succeeded, and attempts that were graded."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How questions are drawn and when they are left out."""

    batch: int = 32
    """Questions per draw."""
    seed: int = 0
    prune: bool = True
    threshold: float = 0.9
    """Success rate from which a question is left out (fathom.md §2.3a)."""
    recycle_after: int | None = None
    """Epochs after which a pruned question comes back; None for never."""
    min_pool: int = 1
    """Questions that an epoch has at least."""
    min_attempts: int = 2
    """Graded attempts that a rate rests on at least: where the infrastructure broke, one success says little."""

    def __post_init__(self) -> None:
        if self.batch < 1 or self.min_pool < 1 or self.min_attempts < 1:
            raise ValueError(f"batch, min_pool and min_attempts are at least 1: {self}.")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"a success rate to prune at lies in (0, 1], not {self.threshold}.")
        if self.recycle_after is not None and self.recycle_after < 1:
            raise ValueError(f"a question is left out for at least one epoch, not {self.recycle_after}; None for all.")


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """What the end of an epoch decided."""

    epoch: int
    judged: int
    """Questions with enough graded attempts to have a rate."""
    pruned: tuple[str, ...]
    spared: tuple[str, ...]
    """Solved, but kept because the pool would have become smaller than `min_pool`."""
    recycled: tuple[str, ...]
    active: int
    """Questions of the epoch to come."""


def succeeded(rollout: Rollout, by: SolvedBy = "answer") -> bool | None:
    """Whether an attempt solved its question; None where nobody could tell.

    "answer": the answer is right. "reward": the total reward is above 0, which is what the paper's formula says.
    """
    if rollout.reward is None or rollout.correct is None:
        return None
    return rollout.correct if by == "answer" else rollout.reward > 0


def count_successes(groups: Iterable[Group], by: SolvedBy = "answer") -> dict[str, tuple[int, int]]:
    """Successes and graded attempts of every question; replayed attempts say nothing about the policy and are left out."""
    tallies: dict[str, tuple[int, int]] = {}
    for group in groups:
        told = [succeeded(rollout, by) for rollout in group.rollouts if not rollout.replayed]
        successes, attempts = tallies.get(group.question_id, (0, 0))
        tallies[group.question_id] = (successes + told.count(True), attempts + len(told) - told.count(None))
    return tallies


class QuestionPool:
    """Draws questions epoch by epoch, and leaves out what is solved."""

    def __init__(
        self, questions: Sequence[str], settings: PoolSettings | None = None, *, curriculum: Curriculum | None = None
    ) -> None:
        """`questions` in any order: only which they are, and the seed, decide the draws."""
        self.questions = tuple(sorted(set(questions)))
        if not questions or len(self.questions) != len(questions):
            raise ValueError(f"a pool needs questions, each named once; {len(questions)} were given.")
        self.settings = settings or PoolSettings()
        self.curriculum = curriculum or Curriculum()
        self.epoch = 0
        self.position = 0
        """Questions of the epoch that were drawn, those that wait included."""
        self.recycled = 0
        """Times that a question came back."""
        self._running = Selection()
        self._order: list[str] | None = None
        self._waiting: list[str] = []
        """Drawn before a resume, and to be drawn again."""
        self._tallies: dict[str, tuple[int, int]] = {}
        self._pruned_at: dict[str, int] = {}

    # What comes ------------------------------------------------------------------------------------------------------

    def draw(self, count: int | None = None) -> list[str]:
        """The next questions of the epoch: `settings.batch` of them unless said otherwise, fewer where the epoch ends.

        Raises `TrainingError` where the epoch has none left.
        """
        if self.epoch_done:
            raise TrainingError(
                f"all questions of epoch {self.epoch} were drawn. Call `end_epoch()`, which decides what the next one "
                "holds, and draw again."
            )
        wanted = self.settings.batch if count is None else count
        again, self._waiting = self._waiting[:wanted], self._waiting[wanted:]
        fresh = self.order[self.position : self.position + wanted - len(again)]
        self.position += len(fresh)
        return again + fresh

    @property
    def epoch_done(self) -> bool:
        """Whether every question of the epoch was drawn."""
        return not self._waiting and self.position >= len(self.order)

    @property
    def order(self) -> list[str]:
        """The questions of the running epoch; what the curriculum said before its first draw counts."""
        if self.position == 0 and self._running != (coming := self.curriculum.selection()):
            self._running, self._order = coming, None
        if self._order is None:
            copies = None
            if self._running.changes_rows:
                copies = self._running.copies(pa.chunked_array([self.questions]), self.settings.seed, self.epoch)
            order = EpochOrder.of(
                np.array([0, len(self.questions)], np.int64),
                seed=self.settings.seed,
                epoch=self.epoch,
                shuffle=True,
                window=None,
                copies=copies,
            )
            self._order = [self.questions[place] for place in order.rows_of(0)]
        if not self._order:
            raise TrainingError(
                f"epoch {self.epoch} has no questions: the curriculum takes out all {len(self.questions)}. Recycle some, or "
                "stop training on them."
            )
        return self._order

    # What is left out ------------------------------------------------------------------------------------------------

    def tally(self, tallies: Tallies) -> None:
        """Add what `count_successes` found; on several ranks, what it found on all of them, on each.

        Raises `ValueError` for a question that the pool does not have.
        """
        if strangers := sorted(tallies.keys() - set(self.questions)):
            raise ValueError(f"{len(strangers)} questions are not of this pool, {strangers[0]!r} among them.")
        for question, (successes, attempts) in tallies.items():
            before = self._tallies.get(question, (0, 0))
            self._tallies[question] = (before[0] + successes, before[1] + attempts)

    def end_epoch(self) -> EpochEnd:
        """Leave the epoch, whatever is left of it; judge what was tallied since the last one ended."""
        recycled = self._recycle()
        rates = {
            question: successes / attempts
            for question, (successes, attempts) in self._tallies.items()
            if attempts >= self.settings.min_attempts
        }
        pruned, spared = self._solved(rates) if self.settings.prune else ([], [])
        self.curriculum.prune(pruned)
        self._pruned_at |= dict.fromkeys(pruned, self.epoch)
        ended = EpochEnd(self.epoch, len(rates), tuple(pruned), tuple(spared), tuple(recycled), self.active)
        self._tallies.clear()
        self._waiting.clear()
        self.epoch, self.position, self._order = self.epoch + 1, 0, None
        return ended

    def _recycle(self) -> list[str]:
        after = self.settings.recycle_after
        back = [] if after is None else sorted(q for q, when in self._pruned_at.items() if when + after <= self.epoch)
        self.curriculum.recycle(back)
        for question in back:
            del self._pruned_at[question]
        self.recycled += len(back)
        return back

    def _solved(self, rates: Mapping[str, float]) -> tuple[list[str], list[str]]:
        """Questions to prune, and solved ones to keep: the hardest, in an order of chance where they are equally hard."""
        solved = [q for q, rate in rates.items() if rate >= self.settings.threshold and q not in self.curriculum.pruned]
        solved.sort(key=lambda q: (rates[q], seed_for(self.settings.seed, "spared", self.epoch, q)))
        spare = max(0, self.settings.min_pool - (self.active - len(solved)))
        return sorted(solved[spare:]), sorted(solved[:spare])

    @property
    def active(self) -> int:
        """Questions that an epoch would have which began now."""
        return sum(question not in self.curriculum.pruned for question in self.questions)

    def statistics(self) -> dict[str, float]:
        return {
            "pool/epoch": float(self.epoch),
            "pool/epoch_share": (self.position - len(self._waiting)) / len(self.order),
            "pool/active": float(self.active),
            "pool/pruned": float(len(self.questions) - self.active),
            "pool/recycled": float(self.recycled),
        }

    # Where it stands -------------------------------------------------------------------------------------------------

    def state_dict(self, undone: Sequence[str] = ()) -> dict[str, Any]:
        """Everything that decides what comes next, as JSON. `undone` were drawn, but nothing of them was used yet: they are
        drawn again after a resume, first.
        """
        running = self._running if self.position else self.curriculum.selection()
        return {
            "version": STATE_VERSION,
            "questions": content_id("pool1", {"questions": self.questions}),
            "settings": asdict(self.settings),
            "epoch": self.epoch,
            "position": self.position,
            "waiting": [*undone, *self._waiting],
            "tallies": {question: list(tally) for question, tally in sorted(self._tallies.items())},
            "pruned_at": dict(sorted(self._pruned_at.items())),
            "recycled": self.recycled,
            "curriculum": {
                "running": running.state_dict(),
                "coming": self.curriculum.selection().state_dict(),
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken. Raises `TrainingError` for that of other questions or another seed."""
        mine = self.state_dict()
        if missing := sorted(mine.keys() - state.keys()):
            raise TrainingError(
                f"this is no state of a question pool: {', '.join(missing)} missing. Hand it in unchanged."
            )
        for name in ("version", "questions"):
            if state[name] != mine[name]:
                raise TrainingError(
                    f"this state belongs to another pool: its {name} is {state[name]}, here it is {mine[name]}. Resume with "
                    "the questions that the run began with, or start a new run."
                )
        if state["settings"]["seed"] != self.settings.seed:
            raise TrainingError(
                f"this state was drawn with seed {state['settings']['seed']}, here it is {self.settings.seed}: positions mean "
                "other questions. Resume with the seed that the run began with."
            )
        self.epoch, self.position, self.recycled = state["epoch"], state["position"], state["recycled"]
        self._waiting = list(state["waiting"])
        self._tallies = {question: (tally[0], tally[1]) for question, tally in state["tallies"].items()}
        self._pruned_at = dict(state["pruned_at"])
        self._running, self._order = Selection.from_state(state["curriculum"]["running"]), None
        self.curriculum.load(Selection.from_state(state["curriculum"]["coming"]))
