"""What minds visit pages for: the words of what a question, or a set of themes, is about.

A goal names several things with semicolons in between: how pages put each relation, and the names that a question states.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from datagen.agents.symbolic.solving import STOP_WORDS, named_constants
from datagen.agents.toolbox import MAX_GOAL_CHARS
from datagen.errors import ParseError
from datagen.knowledge.catalogue import Catalogue, Relation
from datagen.knowledge.formula import IsA, Query, walk_clues
from datagen.practice.minds.background import Background

OTHER_FORMS = 2
"""Labels, and prose forms, of a relation besides its own label."""


def goal_of_question(background: Background, question: str) -> str:
    """Relations and names of a question; nothing where it cannot be read."""
    try:
        query = background.parser.parse(question)
    except ParseError:
        return ""
    relations = (background.catalogue.relations[r] for r in dict.fromkeys(_relations(query)))
    return _goal((*named_constants(query.root), *(words for r in relations for words in _wordings(r))))


def goal_of_themes(catalogue: Catalogue, themes: Sequence[str]) -> str:
    """The themes, and whatever leads from one entity to another."""
    return _goal((*themes, *(r.label for r in catalogue.relations.values() if r.object_kind == "entity")))


def _relations(query: Query) -> Iterator[str]:
    if query.ask is not None:
        yield query.ask
    for _, clue in walk_clues(query.root):
        if not isinstance(clue, IsA):
            yield clue.relation


def _wordings(relation: Relation) -> Iterator[str]:
    yield relation.label
    yield from relation.labels[:OTHER_FORMS]
    for form in relation.prose[:OTHER_FORMS]:
        words = (w.strip(",.;:'()") for w in form.split() if "{" not in w)
        yield " ".join(w for w in words if w and w.casefold() not in STOP_WORDS)


def _goal(parts: Iterable[str]) -> str:
    """As many of the parts as a goal may have."""
    goal = ""
    for part in dict.fromkeys(" ".join(part.replace(";", " ").split()) for part in parts):
        longer = f"{goal}; {part}" if goal else part
        if part and len(longer) <= MAX_GOAL_CHARS:
            goal = longer
    return goal
