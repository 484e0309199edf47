"""Attempts of a release as sequences of tokens: what is imitated, and what is preferred.

    row of trajectories ──► verified? of this policy? ──► tokens, with who wrote them ──► sequence, or a reason why not

Where a row keeps the tokens that an engine sampled, those are taken: text is never tokenised a second time. They are taken
only if they read back as the events of the log, for tokens of another tokenizer mean other words. Rows that are passed
over are counted by the reason.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datagen.config.training import TrainingDataConfig
from datagen.dataset.streaming import RowStream, stream
from datagen.errors import TrainingError
from datagen.records.ids import rng_for
from datagen.records.trajectory import Event, Generation
from datagen.records.trajectory_rows import events_of
from datagen.training.framing.base import Context, Framing, sampled_from_log
from datagen.training.renaming import Renamer
from datagen.training.rollout import Sampled

COLUMNS = ("id", "question", "policy", "recipe", "correct", "verified", "events", "generations")
PAIR_COLUMNS = ("id", "question", "rule", "prefix", "chosen", "rejected")
CACHED_TOKENS = 32_000_000
"""Tokens kept of rows that were tokenised before; about 300 MB."""


class Demonstrations:
    """Sequences to imitate, epoch after epoch; a part of a checkpoint."""

    def __init__(
        self,
        section: TrainingDataConfig,
        framing: Framing,
        *,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        renamer: Renamer | None = None,
    ) -> None:
        self.rows = stream(
            section.releases, table="trajectories", split=section.split, columns=COLUMNS, seed=seed, rank=rank,
            world_size=ranks, even=ranks > 1,
        )  # fmt: skip
        self.passed_over: Counter[str] = Counter()
        """Rows by why they were not taken: filters, too long, cannot be said."""
        self._section = section
        self._framing = framing
        self._seed = seed
        self._renamer = renamer
        self._iterator: Iterator[Mapping[str, Any]] | None = None
        self._known: OrderedDict[str, Sampled | str] = OrderedDict()
        self._known_tokens = 0

    def draw(self, count: int) -> list[Sampled]:
        """The next `count` sequences, from several epochs where one has too few.

        Raises `TrainingError` where a whole epoch has none.
        """
        found: list[Sampled] = []
        fruitless = 0
        while len(found) < count:
            row = next(self._running(), None)
            if row is None:
                self._iterator = None
                fruitless += 1
                if fruitless > 1 and not found:
                    reasons = ", ".join(f"{name} {n:,}" for name, n in self.passed_over.most_common())
                    raise TrainingError(
                        f"no row of {', '.join(self._section.releases)} can be imitated ({reasons}); widen [training.data]."
                    )
                continue
            sequence = self._sequence(row)
            if isinstance(sequence, str):
                self.passed_over[sequence] += 1
            else:
                found.append(sequence)
        return found

    def _running(self) -> Iterator[Mapping[str, Any]]:
        if self._iterator is None:
            self._iterator = iter(self.rows)
        return self._iterator

    def _sequence(self, row: Mapping[str, Any]) -> Sampled | str:
        unwanted = _unwanted(row, self._section)
        if unwanted:
            return unwanted
        if self._renamer is not None and not row["generations"]:
            rng = rng_for(self._seed, "names", self.rows.epoch, row["id"])
            return tokens_of(self._framing, self._renamer.row(row, rng), self._section.max_tokens)
        known = self._known.get(row["id"])
        if known is None:
            known = self._known[row["id"]] = tokens_of(self._framing, row, self._section.max_tokens)
            self._known_tokens += 0 if isinstance(known, str) else len(known.input_ids)
            while self._known_tokens > CACHED_TOKENS:
                _, old = self._known.popitem(last=False)
                self._known_tokens -= 0 if isinstance(old, str) else len(old.input_ids)
        return known

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows.state_dict(), "passed_over": dict(self.passed_over)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows.load_state_dict(state["rows"])
        self.passed_over = Counter(state["passed_over"])
        self._iterator = None


class Preferences:
    """Pairs of sequences, the preferred one first; a part of a checkpoint."""

    def __init__(self, section: TrainingDataConfig, framing: Framing, rules: Sequence[str] = (), *, seed: int) -> None:
        self.rows: RowStream = stream(
            section.releases, table="preferences", split=section.split, columns=PAIR_COLUMNS, seed=seed
        )
        self.passed_over: Counter[str] = Counter()
        self._section = section
        self._framing = framing
        self._rules = frozenset(rules)
        self._iterator: Iterator[Mapping[str, Any]] | None = None

    def draw(self, count: int) -> list[tuple[str, Sampled, Sampled]]:
        """(id, preferred, other) of the next `count` pairs; one pair is drawn at most once."""
        found: dict[str, tuple[str, Sampled, Sampled]] = {}
        fruitless = 0
        while len(found) < count:
            if self._iterator is None:
                self._iterator = iter(self.rows)
            row = next(self._iterator, None)
            if row is None:
                self._iterator = None
                fruitless += 1
                if fruitless > 1:
                    break
                continue
            pair = self._pair(row)
            if isinstance(pair, str):
                self.passed_over[pair] += 1
            else:
                found[pair[0]] = pair
        if not found:
            reasons = ", ".join(f"{name} {n:,}" for name, n in self.passed_over.most_common())
            raise TrainingError(f"no pair of {', '.join(self._section.releases)} can be learned from ({reasons}).")
        return list(found.values())

    def _pair(self, row: Mapping[str, Any]) -> tuple[str, Sampled, Sampled] | str:
        if self._rules and row["rule"] not in self._rules:
            return "other rule"
        sides = []
        for name in ("chosen", "rejected"):
            events = (*events_of(row["prefix"]), *events_of(row[name]))
            side = _said(self._framing, row["question"], events, self._section.max_tokens)
            if isinstance(side, str):
                return side
            sides.append(side)
        return str(row["id"]), sides[0], sides[1]

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows.state_dict(), "passed_over": dict(self.passed_over)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows.load_state_dict(state["rows"])
        self.passed_over = Counter(state["passed_over"])
        self._iterator = None


def tokens_of(framing: Framing, row: Mapping[str, Any], max_tokens: int) -> Sampled | str:
    """A row of trajectories as one sequence, or why it is none."""
    events = events_of(row["events"])
    generations = [
        Generation(g["turn"], tuple(g["token_ids"]), tuple(g["logprobs"] or ())) for g in row["generations"] or ()
    ]
    sequence = _sampled(framing, row["question"], events, generations) if generations else None
    if sequence is None:
        return _said(framing, row["question"], events, max_tokens)
    return sequence if len(sequence.input_ids) <= max_tokens else "too long"


def _unwanted(row: Mapping[str, Any], section: TrainingDataConfig) -> str:
    """Why the filters leave a row out; empty where they do not."""
    if section.verified and not row["verified"]:
        return "not verified"
    if section.policies and row["policy"] not in section.policies:
        return "other policy"
    if section.recipes and row["recipe"] not in section.recipes:
        return "other recipe"
    return ""


def _said(framing: Framing, question: str, events: Sequence[Event], max_tokens: int) -> Sampled | str:
    try:
        sequence = sampled_from_log(framing, question, events)
    except TrainingError:
        return "cannot be said"
    if not sequence.written.any():
        return "nothing written"
    return sequence if len(sequence.input_ids) <= max_tokens else "too long"


def _sampled(
    framing: Framing, question: str, events: Sequence[Event], generations: Sequence[Generation]
) -> Sampled | None:
    """The tokens that were sampled; None where they do not read back as the log."""
    talk, context = framing.begin(question), Context()
    context.add(talk.opening(), written=False)
    for number, generation in enumerate(generations):
        if max(generation.token_ids, default=0) >= framing.vocabulary:
            return None
        logged = [event for event in events if event.turn == generation.turn and event.by_model]
        if list(map(_words, talk.read(generation.token_ids, generation.turn))) != list(map(_words, logged)):
            return None
        logprobs = generation.logprobs if len(generation.logprobs) == len(generation.token_ids) else None
        context.add(generation.token_ids, logprobs, written=True)
        if number < len(generations) - 1:
            results = [event for event in events if event.turn == generation.turn and event.kind == "result"]
            context.add(talk.show(results), written=False)
    return context.sampled()


def _words(event: Event) -> tuple[str, str, str | None, str | None]:
    return event.kind, event.text, event.tool, event.arguments
