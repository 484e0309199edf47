"""What a page says about the clues of a question, for somebody who thinks aloud about it.

    Finding("fits", clue, subject "Real Fjushond", "Real Fjushond was founded in 1975")

Only what the page itself states counts, under the names that the page itself uses.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal as OneOf

from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.standing import Status, covers, is_nameless, listed_facts, literal_status
from datagen.agents.symbolic.wordbank import topic_of
from datagen.knowledge.catalogue import Catalogue, Relation
from datagen.knowledge.formula import Clue, ClueAddress, Edge, EntityRef, IsA, Match, Query, Within, walk_clues
from datagen.knowledge.reading import Reading
from datagen.records.fact import Fact

_YEAR_OR_MONTH = re.compile(r"([A-Z][a-z]+ )?\d{3,4}")
_DAY = re.compile(r"\d{1,2} [A-Z][a-z]+ \d{3,4}")
Bearing = OneOf["fits", "differs", "link"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement of a page that bears on a clue. A link is a value that itself has to be identified."""

    bearing: Bearing
    clue: int
    """Number of the clue, `formula.walk_clues` order."""
    subject: str
    """Key of the thing that the clue is about."""
    name: str
    """What the page calls it."""
    other: str
    """The other end: a value, or a name."""
    fact: Fact

    @property
    def far(self) -> str | None:
        """Key of the other end, where it is a thing."""
        return self.fact.object_key if self.fact.subject == self.subject else self.fact.subject


@dataclass(frozen=True, slots=True)
class NamedClue:
    """A clue with its place and its relation."""

    number: int
    address: ClueAddress
    clue: Clue
    relation: Relation | None
    about: str | None
    """Class of the thing that the clue is about, where the question says it."""
    leads_to: str | None = None
    """Class of the thing at the other end that has to be identified."""

    @property
    def topic(self) -> str:
        """What the clue is about, in two or three words."""
        return topic_of(self.relation.label) if self.relation else "kind"

    @property
    def inverse(self) -> bool:
        """Whether the thing that the clue is about is the object of the relation."""
        return isinstance(self.clue, Match | Edge) and self.clue.inverse

    @property
    def constant(self) -> str | None:
        """The name that the clue states."""
        if isinstance(self.clue, Match) and isinstance(self.clue.value, EntityRef):
            return self.clue.value.name
        return None


def clues_of(query: Query, catalogue: Catalogue) -> tuple[NamedClue, ...]:
    """All clues in reading order."""
    kinds: dict[ClueAddress, str | None] = {(): query.root.type}
    found = []
    for number, (address, clue) in enumerate(walk_clues(query.root)):
        relation = None if isinstance(clue, IsA) else catalogue.relations[clue.relation]
        leads_to = kinds[address] = clue.child.type if isinstance(clue, Edge) else None
        found.append(NamedClue(number, address, clue, relation, kinds[address[:-1]], leads_to))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Classes:
    """What sort of thing an address is about, as far as a reader can tell."""

    catalogue: Catalogue
    of_address: Callable[[str], str | None]

    def could_be(self, key: str, wanted: str | None) -> bool:
        kind = key.removeprefix("entity:").split("/", 1)[0] if is_nameless(key) else self.of_address(key)
        if wanted is None or kind is None or kind not in self.catalogue.types:
            return True
        return self.catalogue.is_a(kind, wanted) or self.catalogue.is_a(wanted, kind)


def findings_on(reading: Reading, clues: Sequence[NamedClue], classes: Classes) -> list[Finding]:
    """Everything that one page says on the clues, in the order of the clues and then of the page."""
    names = dict(reading.mentions)
    if reading.entity is not None:
        names[reading.entity.key] = reading.entity.name
    every = _all_findings(reading, clues, names, classes.catalogue)
    told: dict[tuple[str, int, str], Finding] = {}  # one fact may bear on several clues
    for found in every:
        named = found.name and found.other  # lists link to things that they do not always name
        if named and classes.could_be(found.subject, clues[found.clue].about) and _fits_far(found, clues, classes):
            told.setdefault((found.subject, found.clue, found.other), found)
    return list(told.values())


def _fits_far(found: Finding, clues: Sequence[NamedClue], classes: Classes) -> bool:
    """Whether the other end of a link is of the class that the question speaks of."""
    if found.bearing != "link":
        return True
    return found.far is None or classes.could_be(found.far, clues[found.clue].leads_to)


def _all_findings(
    reading: Reading, clues: Sequence[NamedClue], names: dict[str, str], catalogue: Catalogue
) -> list[Finding]:
    by_relation: dict[str, list[Fact]] = {}
    for fact in (*reading.facts, *listed_facts(reading.closures, names, None, catalogue)):
        by_relation.setdefault(fact.relation, []).append(fact)
    return [
        found
        for clue in clues
        if clue.relation is not None
        for fact in by_relation.get(clue.relation.id, ())
        for found in _bearing(clue, fact, names)
    ]


def _bearing(clue: NamedClue, fact: Fact, names: dict[str, str]) -> Iterator[Finding]:
    meaning = clue.clue
    if isinstance(meaning, IsA) or not covers(fact.valid_from, fact.as_of, meaning.as_of):
        return
    subject = _name(fact.subject, names)
    if subject is None:
        return
    if clue.inverse:
        yield from _inverse(clue, fact, subject)
        return
    found = Finding("link", clue.number, fact.subject, subject, fact.object, fact)
    if isinstance(meaning, Edge):
        yield found
    elif isinstance(meaning, Match) and isinstance(meaning.value, EntityRef):
        same = fold(fact.object) == fold(meaning.value.name)
        single = clue.relation is not None and clue.relation.single
        if same or single:
            yield _as(found, "fits" if same else "differs")
    elif isinstance(meaning, Match | Within):
        status = literal_status(fact, meaning)
        if status is not Status.UNKNOWN:
            yield _as(found, "fits" if status is Status.YES else "differs")


def _inverse(clue: NamedClue, fact: Fact, subject: str) -> Iterator[Finding]:
    """The sought thing is the object: of a named subject, or of one that has to be identified."""
    if fact.object_key is None:
        return
    if isinstance(clue.clue, Edge):
        yield Finding("link", clue.number, fact.object_key, fact.object, subject, fact)
    elif clue.constant is not None and fold(subject) == fold(clue.constant):
        yield Finding("fits", clue.number, fact.object_key, fact.object, subject, fact)


def _as(found: Finding, bearing: Bearing) -> Finding:
    return Finding(bearing, found.clue, found.subject, found.name, found.other, found.fact)


def _name(key: str, names: dict[str, str]) -> str | None:
    found = names.get(key)
    if found is None and is_nameless(key):
        return key.rsplit("/", 1)[-1]
    return found


def say_fact(found: Finding, clue: NamedClue, rng: random.Random) -> str:
    """The statement as it stands inside a sentence: "the home of Thollgan Yard is Rearaber"."""
    assert clue.relation is not None
    subject, value = (found.other, found.name) if clue.inverse else (found.name, found.fact.object)
    forms = [form for form in clue.relation.prose if "{s}" in form and "{o}" in form]
    said = rng.choice(forms) if forms else None
    if said is not None and found.fact.literal is not None and found.fact.literal.kind == "date":
        if _YEAR_OR_MONTH.fullmatch(value):
            said = said.replace("on {o}", "in {o}")
        elif _DAY.fullmatch(value):
            said = said.replace("in {o}", "on {o}")
    if not said:
        several = not clue.relation.single and found.fact.object_key is not None
        return f"the {clue.topic} of {subject} {'include' if several else 'is'} {value}"
    inside = said if said.startswith("{") else said[:1].lower() + said[1:]
    return inside.replace("{s}", subject).replace("{o}", value).rstrip(".")
