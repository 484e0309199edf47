"""The last thought of an attempt: what the answer rests on, what stays open, or why there is none.

All conditions check out for Real Fjushond. To go over it once more: Real Fjushond was founded in 1975; ...
Nothing I read speaks against Real Fjushond, though I found no page on its kit colours.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.findings import Finding, NamedClue, say_fact
from datagen.agents.symbolic.wordbank import Wordbank, listed, topic_of
from datagen.knowledge.catalogue import Relation
from datagen.knowledge.formula import ClueAddress

REPEATED = 6
"""Statements that the check repeats, at most."""
CHECKED_SHARE = 0.9
"""Answers that are preceded by the statements they rest on."""


class Conclusion:
    """Ends one attempt."""

    def __init__(
        self,
        clues: Sequence[NamedClue],
        asked: Relation | None,
        findings: Sequence[Finding],
        words: Wordbank,
        rng: random.Random,
    ) -> None:
        self._clues = clues
        self._asked = asked
        self._findings = findings
        """Grows while pages are read."""
        self._words = words
        self._rng = rng

    def closing(self, name: str, value: str | None) -> str:
        """The thought before the answer: which statements it rests on, and what was not found."""
        proofs = self._support(name, ())
        missing = self._unproven(name, proofs)
        if missing:
            said = [self._words.say("close", "open", name=name, missing=listed(missing))]
        else:
            said = [self._words.say("close", "sure", name=name)]
        if proofs and self._rng.random() < CHECKED_SHARE:
            said.append(self._check(proofs[:REPEATED], "part" if missing else "check"))
        if value is not None and self._asked is not None:
            said.append(self._words.say("close", "value", topic=topic_of(self._asked.label), value=value))
        return " ".join(said)

    def _unproven(self, name: str, proofs: Sequence[Finding]) -> list[str]:
        """What stays open, said of the things that the proofs lead to: "the alma mater of Ada"."""
        there = {(): name} | {self._clues[f.clue].address: f.other for f in proofs if f.bearing == "link"}
        proven = {f.clue for f in proofs}
        missing = [c for c in self._clues if c.relation is not None and c.number not in proven]
        told = [f"the {c.topic} of {there[c.address[:-1]]}" for c in missing if c.address[:-1] in there]
        return list(dict.fromkeys(told))

    def _check(self, proofs: Sequence[Finding], words: str) -> str:
        """The statements once more, in one sentence or in several."""
        facts = [say_fact(f, self._clues[f.clue], self._rng) for f in proofs]
        first, *rest = facts
        if not rest:
            return f"{first[:1].upper()}{first[1:]}."
        form = self._rng.choice(("list", "and", "sentences"))
        if form == "sentences":
            return " ".join(f"{fact[:1].upper()}{fact[1:]}." for fact in facts)
        *middle, last = facts
        joined = "; ".join([*middle, last]) if form == "list" else f"{', '.join(middle)}, and {last}"
        return self._words.say("close", words, facts=joined)

    def _support(self, name: str, place: ClueAddress) -> list[Finding]:
        """For every clue about the thing at `place` one statement that supports the one called so as that thing; behind a
        link along the one with most behind it.
        """
        kept: list[Finding] = []
        for clue in self._clues:
            if clue.address[:-1] != place:
                continue
            good = [f for f in self._findings if f.clue == clue.number and fold(f.name) == fold(name)]
            ways: list[list[Finding]] = [
                [f, *(self._support(f.other, clue.address) if f.bearing == "link" else ())]
                for f in good
                if f.bearing != "differs"
            ]
            longest: list[Finding] = max(ways, key=len) if ways else []
            kept += longest
        return kept

    def supports(self, name: str) -> int:
        """How much of what was read speaks for this thing as the one sought."""
        return len(self._support(name, ()))

    def about(self, name: str) -> list[Finding]:
        """What was read on the thing called so as the one sought."""
        return [f for f in self._findings if len(self._clues[f.clue].address) == 1 and fold(f.name) == fold(name)]

    def complete(self) -> str | None:
        """The thing that every clue has a statement for, if there is exactly one and nothing speaks against it."""
        wanted = {c.number for c in self._clues if len(c.address) == 1 and c.relation is not None}
        answered: dict[str, set[int]] = {}
        out: set[str] = set()
        for found in self._findings:
            if found.clue in wanted:
                answered.setdefault(found.name, set()).add(found.clue)
                if found.bearing == "differs":
                    out.add(found.name)
        names = [name for name, numbers in answered.items() if numbers == wanted and name not in out]
        whole = [name for name in names if not self._unproven(name, self._support(name, ()))]
        return whole[0] if wanted and len(whole) == 1 else None

    def settling(self, found: Finding, value: str | None) -> str:
        """The thought of somebody who does not check further."""
        root = [f for f in self._findings if len(self._clues[f.clue].address) == 1]
        out = {f.name for f in root if f.bearing == "differs"}
        others = {f.name for f in root if f.clue == found.clue} - out - {found.name}
        key = "hasty_first" if others else "hasty"
        said = self._words.say("close", key, name=found.name, topic=self._clues[found.clue].topic)
        if value is None or self._asked is None:
            return said
        topic = topic_of(self._asked.label)
        return f"{said} {self._words.say('close', 'hasty_value', topic=topic, value=value)}"

    def nearest(self) -> str | None:
        """What has most behind it among the things that could be the one sought, if two clues or more speak for it."""
        about = [f for f in self._findings if len(self._clues[f.clue].address) == 1]
        out = {f.name for f in about if f.bearing == "differs"}
        names = dict.fromkeys(f.name for f in about if f.name not in out)
        best = max(names, key=self.supports, default=None)
        return best if best is not None and self.supports(best) > 1 else None

    def giving_up(self, reason: str) -> str:
        """Why there is no answer."""
        said = self._words.say("close", "spent" if reason == "budget" else "gave_up")
        nearest = self.nearest()
        if nearest is None or reason == "ambiguous":
            return said
        return f"{self._words.say('close', 'nearest', name=nearest)} {said}"
