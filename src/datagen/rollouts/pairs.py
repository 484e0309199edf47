"""Which of two attempts at one question is to be preferred, and which of two ways to go on.

Whole attempts, after WebThinker's ordered rules (arXiv 2504.21776; spec agents_eval_safety §1.5). The first rule that tells
two attempts apart decides:

    correctness    one is right and the other wrong
    evidence       both right, one verified: every clue evidenced and the answer not named before it was seen (ours)
    tool_calls     both right and equally verified, fewer calls in total
    conciseness    the calls are equal too, and one is more than gamma times as long as the other

`evidence` stands before `tool_calls` because a lucky guess always has fewer calls than an answer that was checked. Two
wrong attempts are never a pair. Length is what the model wrote, in characters; what tools returned is not its own.

Ways to go on, where two attempts were in one state (`rollouts.states`), had the same clues evidenced, and parted:

    step_new_clue   both evidence a further clue, one with two calls fewer or more
    step_progress   one evidences a further clue, the other goes on and never does
    step_too_early  one evidences a further clue, the other answers instead
    step_stop       every clue is evidenced: one, which is verified, gives its answer, the other goes on calling

The preferred continuation reaches to the turn that decides, the other is cut as soon as it has spent as many calls, so that
neither is longer because of what came later. A step is never preferred over one of a better attempt: not from a wrong
attempt over a right one. Attempts that the infrastructure broke, or that nobody could grade, take no part.

Pairs of a question are bounded. Those of attempts that were used less often come first, then the stronger rule, then the
greater difference.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from datagen.records.ids import content_id
from datagen.records.trajectory import Event, Preference, Trajectory
from datagen.rollouts.states import Turns

PAIRS_PER_QUESTION = 8
"""Of either kind: WebThinker samples three attempts per question, which make three pairs at most."""
FEWER_CALLS = 2
"""Calls by which a further clue has to be cheaper: a single one is often what a snippet happens to show."""
TRAJECTORY_RULES = ("correctness", "evidence", "tool_calls", "conciseness")
STEP_RULES = ("step_too_early", "step_progress", "step_new_clue", "step_stop")


@dataclass(frozen=True, slots=True)
class _Sibling:
    attempt: Trajectory
    turns: Turns
    clues: tuple[int | None, ...]
    """For each clue the position of the turn that evidenced it."""

    @classmethod
    def of(cls, attempt: Trajectory) -> _Sibling:
        turns = Turns.of(attempt.transcript.events)
        places = {turn[0].turn: place for place, turn in enumerate(turns.turns)}
        return cls(attempt, turns, tuple(None if t is None else places.get(t) for t in attempt.clue_turns))

    @property
    def id(self) -> str:
        return self.attempt.id

    @property
    def calls(self) -> int:
        return self.turns.costs[-1]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A pair that a rule allows, before the bound."""

    pair: Preference
    strength: int
    """Position of its rule."""
    margin: float


def preference_pairs(
    siblings: Sequence[Trajectory], *, gamma: float = 1.5, per_question: int = PAIRS_PER_QUESTION
) -> list[Preference]:
    """Pairs among attempts at the same question, in an order that depends on nothing but the attempts."""
    groups: dict[str, list[Trajectory]] = {}
    for attempt in siblings:
        groups.setdefault(attempt.question_id, []).append(attempt)
    pairs: list[Preference] = []
    for question_id in sorted(groups):
        able = _distinct(groups[question_id])
        whole = [c for one, other in itertools.combinations(able, 2) if (c := _whole(one, other, gamma)) is not None]
        steps = [c for one, other in itertools.combinations(able, 2) for c in _steps(one, other)]
        pairs += _bounded(whole, per_question)
        pairs += _bounded(steps, per_question)
    return pairs


def _distinct(attempts: Iterable[Trajectory]) -> list[_Sibling]:
    """Attempts that were graded, by id, each log once."""
    found: dict[tuple[Event, ...], _Sibling] = {}
    for attempt in sorted(attempts, key=lambda attempt: attempt.id):
        broken = attempt.transcript.termination == "error" or attempt.answer_check == "errored"
        if attempt.correct is not None and not broken and attempt.transcript.events:
            found.setdefault(attempt.transcript.events, _Sibling.of(attempt))
    return list(found.values())


# --- whole attempts ---------------------------------------------------------------------------------------------------


def _whole(one: _Sibling, other: _Sibling, gamma: float) -> _Candidate | None:
    """The pair of two whole attempts, if a rule tells them apart."""
    for better, worse in ((one, other), (other, one)):
        decided = _preferred(better, worse, gamma)
        if decided is not None:
            rule, margin, detail = decided
            everything = (0, len(better.turns.turns), len(worse.turns.turns))
            pair = _preference(better, worse, rule, detail, everything)
            return _Candidate(pair, TRAJECTORY_RULES.index(rule), margin)
    return None


def _preferred(better: _Sibling, worse: _Sibling, gamma: float) -> tuple[str, float, str] | None:
    """The rule by which the first is preferred, by how much, and why; None where none prefers it."""
    one, other = better.attempt, worse.attempt
    if not one.correct:
        return None
    if not other.correct:
        return "correctness", float(other.transcript.answer is not None), "One answer is right, the other is not."
    if one.verified != other.verified:
        if not one.verified:
            return None
        return "evidence", _evidenced(one) - _evidenced(other), _why_unverified(other)
    if better.calls != worse.calls:
        detail = f"Both are right, with {better.calls} and {worse.calls} tool calls."
        return ("tool_calls", worse.calls - better.calls, detail) if better.calls < worse.calls else None
    short, long = written(one.transcript.events), written(other.transcript.events)
    if long <= gamma * short:
        return None
    detail = f"Both are right with {better.calls} tool calls, in {short:,} and {long:,} characters."
    return "conciseness", long / max(short, 1), detail


def _evidenced(attempt: Trajectory) -> int:
    return sum(turn is not None for turn in attempt.clue_turns)


def _why_unverified(attempt: Trajectory) -> str:
    if attempt.shortcut:
        return "Both are right; one verified every clue, the other named the answer before it was seen."
    return f"Both are right; one verified every clue, the other {_evidenced(attempt)} of the {len(attempt.clue_turns)}."


def written(events: Iterable[Event]) -> int:
    """Characters that the model wrote."""
    return sum(len(event.text) + len(event.arguments or "") for event in events if event.by_model)


# --- ways to go on ----------------------------------------------------------------------------------------------------


def _steps(one: _Sibling, other: _Sibling) -> Iterator[_Candidate]:
    """The pair of continuations from the last state that two attempts share before they part."""
    at = _parting(one.turns, other.turns)
    if at is None or _known(one, at) != _known(other, at):
        return
    for better, worse in ((one, other), (other, one)):
        if worse.attempt.correct and not better.attempt.correct:
            continue
        decided = _step(better, worse, at)
        if decided is not None:
            yield decided
            return


def _parting(one: Turns, other: Turns) -> int | None:
    """The last turn before which both are in one state and in which they do different things."""
    for at in reversed(range(min(len(one.turns), len(other.turns)))):
        alike = one.states[at] == other.states[at] and one.costs[at] == other.costs[at]
        if alike and one.move(at) != other.move(at):
            return at
    return None


def _known(sibling: _Sibling, at: int) -> frozenset[int]:
    return frozenset(i for i, turn in enumerate(sibling.clues) if turn is not None and turn < at)


def _next_clue(sibling: _Sibling, at: int) -> int | None:
    """The turn from `at` on that evidences a further clue first."""
    return min((turn for turn in sibling.clues if turn is not None and turn >= at), default=None)


def _step(better: _Sibling, worse: _Sibling, at: int) -> _Candidate | None:
    if not better.clues:
        return None
    if len(_known(better, at)) == len(better.clues):
        return _stop(better, worse, at)
    reached = _next_clue(better, at)
    if reached is None:
        return None
    cost = better.turns.costs[reached + 1] - better.turns.costs[at]
    other = _next_clue(worse, at)
    if other is not None:
        more = worse.turns.costs[other + 1] - worse.turns.costs[at] - cost
        if more < FEWER_CALLS:
            return None
        detail = f"One evidenced a further clue after {_calls(cost)}, the other after {cost + more}."
        return _continued(better, worse, at, reached + 1, ("step_new_clue", more, detail))
    if not any(event.kind == "call" for event in worse.turns.turns[at]):
        detail = f"One evidenced a further clue after {_calls(cost)}, the other ended without it."
        return _continued(better, worse, at, reached + 1, ("step_too_early", 1 + better.attempt.verified, detail))
    spent = worse.calls - worse.turns.costs[at]
    if spent < cost:
        return None
    detail = f"One evidenced a further clue after {_calls(cost)}, the other none in {spent}."
    return _continued(better, worse, at, reached + 1, ("step_progress", spent - cost, detail))


def _stop(better: _Sibling, worse: _Sibling, at: int) -> _Candidate | None:
    """Everything is evidenced: to answer rightly is better than to go on."""
    answers = any(event.kind == "answer" for event in better.turns.turns[at])
    goes_on = any(event.kind == "call" for event in worse.turns.turns[at])
    if not (better.attempt.verified and answers and goes_on):
        return None
    spent = worse.calls - worse.turns.costs[at]
    detail = f"Every clue was evidenced: one answered rightly, the other made {_calls(spent)} more."
    return _continued(better, worse, at, at + 1, ("step_stop", spent, detail))


def _calls(count: int) -> str:
    return f"{count} call{'' if count == 1 else 's'}"


def _continued(
    better: _Sibling, worse: _Sibling, at: int, stop: int, decided: tuple[str, float, str]
) -> _Candidate | None:
    """The pair of two stretches, each from `at`; None where their call ids cannot stand behind one beginning."""
    rule, margin, detail = decided
    cost = better.turns.costs[stop] - better.turns.costs[at]
    end = at + 1
    while end < len(worse.turns.turns) and worse.turns.costs[end] - worse.turns.costs[at] < cost:
        end += 1
    pair = _preference(better, worse, rule, detail, (at, stop, end))
    if {e.call_id for e in pair.prefix if e.call_id} & {e.call_id for e in pair.rejected if e.call_id}:
        return None
    return _Candidate(pair, STEP_RULES.index(rule), margin)


def _preference(better: _Sibling, worse: _Sibling, rule: str, detail: str, cuts: tuple[int, int, int]) -> Preference:
    """`cuts`: the turn at which both begin to differ, and those before which the better and the worse end."""
    at, stop, end = cuts
    one, other = better.turns, worse.turns
    content = {"prefix": one.digests[:at], "chosen": one.digests[at:stop], "rejected": other.digests[at:end]}
    attempt = better.attempt
    return Preference(
        id=content_id("pf1", {"question": attempt.question_id, "rule": rule, **content}),
        question_id=attempt.question_id,
        question=attempt.question,
        kind="process" if rule in STEP_RULES else "trajectory",
        rule=rule,
        detail=detail,
        prefix=one.events(0, at),
        chosen=one.events(at, stop),
        rejected=other.events(at, end),
        chosen_id=better.id,
        rejected_id=worse.id,
    )


def _bounded(candidates: list[_Candidate], limit: int) -> Iterator[Preference]:
    """At most so many, each once, spread over the attempts."""
    left = list({c.pair.id: c for c in candidates}.values())
    used: Counter[str] = Counter()
    for _ in range(min(limit, len(left))):
        best = min(
            left,
            key=lambda c: (
                used[c.pair.chosen_id] + used[c.pair.rejected_id],
                not c.pair.prefix,
                c.strength,
                -c.margin,
                c.pair.id,
            ),
        )
        left.remove(best)
        used.update((best.pair.chosen_id, best.pair.rejected_id))
        yield best.pair
