"""What is new on a page, in a sentence or two: lists as lists, single statements each for itself.

    four rows or more    "Of 14 entries only Real Fjushond fits on founding date."
    a few that agree     "Real Fjushond plays at Hill End, and the same goes for Vale Rangers."
    one                  "Vale Rangers was founded in 1924, so that one is out."

A value that does not fit excludes a thing only where the question speaks of one thing of that sort; where it speaks of
several, all that can be said is which of them it is not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence

from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.findings import Finding, NamedClue, clues_of, say_fact
from datagen.agents.symbolic.wordbank import Wordbank, listed
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Query

ROWS = 4
"""Things that one clue is answered for, from which on they are spoken of as a list."""
TOLD = 3
"""Sentences, at most."""


class Teller:
    """Says what pages said, for one attempt."""

    def __init__(
        self, query: Query, findings: Sequence[Finding], catalogue: Catalogue, words: Wordbank, rng: random.Random
    ) -> None:
        clues = clues_of(query, catalogue)
        self._clues = clues
        self._findings = findings
        """All so far, the new ones among them."""
        self._catalogue = catalogue
        self._words = words
        self._rng = rng
        self._settled: set[int] = set()
        """Clues that something was said to fit."""
        self._out: set[tuple[int, str]] = set()
        """What was said not to fit."""
        self._given = {fold(clue.constant) for clue in clues if clue.constant is not None}
        self._places = Counter(kind for kind in (query.root.type, *(c.leads_to for c in clues)) if kind is not None)

    def tell(self, new: Sequence[Finding], pages: Collection[str] = ()) -> list[str]:
        """Sentences on what is new, `pages` being the things whose own pages were read."""
        considered = {fold(name) for name in pages}
        considered |= {fold(n) for f in self._findings if f.bearing != "differs" for n in (f.name, f.other)}
        lists = Counter(f.clue for f in new)
        new = [f for f in new if f.bearing != "differs" or fold(f.name) in considered or lists[f.clue] >= ROWS]
        said: list[str] = []
        out: set[str] = set()
        stated: set[tuple[str, str, str]] = set()
        for clue in sorted(self._clues, key=lambda clue: -len(clue.address)):  # a thing before what leads to it
            about = [f for f in new if f.clue == clue.number and f.name not in out]
            about = [f for f in about if f.bearing != "differs" or fold(f.name) not in self._given]
            about = [f for f in about if (f.fact.subject, f.fact.relation, f.fact.object) not in stated]
            if not about or len(said) >= TOLD:
                continue
            said += self._on(clue, about)[: TOLD - len(said)]
            self._settled.update(f.clue for f in about if f.bearing == "fits")
            stated.update((f.fact.subject, f.fact.relation, f.fact.object) for f in about)
            if not self._is_one_of_several(clue):
                out.update(f.name for f in about if f.bearing == "differs")
        return said

    def _is_one_of_several(self, clue: NamedClue) -> bool:
        """Whether the question speaks of more than one thing of the sort that the clue is about."""
        return clue.about is None or self._places[clue.about] > 1

    def _on(self, clue: NamedClue, about: Sequence[Finding]) -> list[str]:
        subjects = list(dict.fromkeys(f.name for f in about))
        if len(subjects) >= ROWS:
            return [self._rows(clue, about, subjects)]
        out = list(dict.fromkeys(f.name for f in about if f.bearing == "differs"))
        rest = [f for f in about if f.bearing != "differs"]
        if len(out) < 2:
            against = [f for f in about if f.bearing == "differs"]
            return [*self._few(clue, rest), *self._few(clue, against)]
        return [self._words.say("learned", "several_out", names=listed(out), topic=clue.topic), *self._few(clue, rest)]

    def _rows(self, clue: NamedClue, about: Sequence[Finding], subjects: Sequence[str]) -> str:
        fitting = list(dict.fromkeys(f.name for f in about if f.bearing == "fits"))
        count = len(subjects)
        where = "rows" if len({f.fact.evidence.url for f in about}) == 1 else "pages"
        if all(f.bearing == "link" for f in about):
            return self._words.say("learned", f"{where}_link", count=count, names=listed(subjects))
        if not fitting:
            key = "none_else" if clue.number in self._settled else f"{where}_none"
            return self._words.say("learned", key, count=count, topic=clue.topic)
        if len(fitting) == count:
            return self._words.say("learned", f"{where}_all", count=count, names=listed(fitting), topic=clue.topic)
        key = f"{where}_one" if len(fitting) == 1 else f"{where}_fit"
        return self._words.say("learned", key, count=count, names=listed(fitting), topic=clue.topic)

    def _few(self, clue: NamedClue, about: Sequence[Finding]) -> list[str]:
        """The first statement, and whom it holds for besides."""
        if not about:
            return []
        first, *rest = self._promising_first(clue, about)
        fact = say_fact(first, clue, self._rng)
        if first.bearing == "differs":
            if (clue.number, first.name) in self._out:
                return [self._words.say("learned", "out_again", fact=fact, name=first.name)]
            self._out.add((clue.number, first.name))
            if not self._is_one_of_several(clue) or clue.about is None:
                return [self._words.say("learned", "differs", fact=fact, name=first.name)]
            kind = self._catalogue.types[clue.about].singular
            return [self._words.say("learned", "differs_here", fact=fact, kind=kind, topic=clue.topic)]
        alike = [f for f in rest if f.bearing == first.bearing]
        same = list(dict.fromkeys(f.name for f in alike if f.name != first.name and fold(f.other) == fold(first.other)))
        if same:
            return [self._words.say("learned", "shared", fact=fact, names=listed(same))]
        besides = list(dict.fromkeys(f.other for f in alike if f.name == first.name and f.bearing == "link"))
        besides = [name for name in besides if fold(name) != fold(first.other)]
        if besides:
            return [self._words.say("learned", "besides", fact=fact, names=listed(besides))]
        if first.bearing == "link":
            return [self._linked(clue, first, fact)]
        return [self._words.say("learned", first.bearing, fact=fact)]

    def _linked(self, clue: NamedClue, found: Finding, fact: str) -> str:
        """A link, and whether it leads to what is known at its far end."""
        bearings = self._at_far_end(clue)
        here = bearings.get(found.other, set())
        kind = self._catalogue.types[clue.leads_to].singular if clue.leads_to else "one"
        if "differs" in here:
            return self._words.say("learned", "link_out", fact=fact, other=found.other)
        known = [name for name, kinds in bearings.items() if "fits" in kinds and "differs" not in kinds]
        if known == [found.other]:
            return self._words.say("learned", "link_known", fact=fact, other=found.other, kind=kind)
        single = clue.relation is not None and clue.relation.single and not clue.inverse
        if len(known) == 1 and single and not here:
            return self._words.say("learned", "link_other", fact=fact, known=known[0])
        return self._words.say("learned", "link", fact=fact)

    def _at_far_end(self, clue: NamedClue) -> dict[str, set[str]]:
        """How the things that the clue may lead to fare on their own clues."""
        bearings: dict[str, set[str]] = {}
        for found in self._findings:
            if self._clues[found.clue].address[:-1] == clue.address:
                bearings.setdefault(found.name, set()).add(found.bearing)
        return bearings

    def _promising_first(self, clue: NamedClue, about: Sequence[Finding]) -> list[Finding]:
        """Links to what fits before links to what is unknown, and those to what is out at the end."""
        bearings = self._at_far_end(clue)

        def rank(found: Finding) -> int:
            here = bearings.get(found.other, set())
            return 2 if "differs" in here else 0 if "fits" in here else 1

        return sorted(about, key=rank) if about[0].bearing == "link" else list(about)
