"""The question in one's own words: what is sought, and its conditions as notes.

the founding date of a football club
its home ground is a stadium I have to identify; its country is Brindland
"""

from __future__ import annotations

import re

from datagen.agents.symbolic.findings import NamedClue
from datagen.agents.symbolic.wordbank import topic_of, with_article
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Edge, IsA, Match, Query, Within
from datagen.language.vague_dates import date_wordings
from datagen.language.vague_numbers import number_wordings
from datagen.records.fact import Literal

_PLURAL = re.compile(r"(?:\w*[^s\W]s|cast|languages? \w+)\b")
"""Topics that stand for several things: "twin towns"."""


def phrase_target(query: Query, catalogue: Catalogue) -> str:
    """What the question is after."""
    kind = query.root.type
    noun = with_article(catalogue.types[kind].singular if kind else "thing")
    return noun if query.ask is None else f"the {topic_of(catalogue.relations[query.ask].label)} of {noun}"


def phrase_clue(clue: NamedClue, catalogue: Catalogue) -> str:
    """A clue in a few words: "its home ground is a stadium I have to identify"."""
    person = clue.about is not None and catalogue.types[clue.about].who
    they_are, their = ("they are", "their") if person else ("it is", "its")
    if isinstance(clue.clue, IsA):
        return f"{they_are} {with_article(clue.clue.type.replace('_', ' '))}"
    far_end = _far_end(clue.clue, catalogue)
    if clue.inverse:
        return f"{they_are} the {clue.topic} of {far_end}"
    several = clue.relation is not None and not clue.relation.single and _PLURAL.match(clue.topic)
    return f"{their} {clue.topic} {'include' if several else 'is'} {far_end}"


def _far_end(clue: Match | Edge | Within, catalogue: Catalogue) -> str:
    """The value that a clue states, or what has to be found."""
    if isinstance(clue, Edge):
        noun = catalogue.types[clue.child.type].singular if clue.child.type else "thing"
        return f"{with_article(noun)} I have to identify"
    if isinstance(clue, Within):
        return _span(clue)
    return clue.value.text if isinstance(clue.value, Literal) else clue.value.name


def _span(clue: Within) -> str:
    """The range in the words of questions: "between 1970 and 1980", "roughly 19,000"."""
    if clue.kind == "date":
        return date_wordings(int(clue.low), int(clue.high))[0].after_copula
    return number_wordings(clue.low, clue.high, clue.unit)[0]
