"""A certified question in the words of a model, as long as it still asks the same.

    grammar's words ──► rewriter ──► reads back to the formula?  ──► parse_back
                           ▲                │ no
                           │                ▼
                           │       a judge says "the same question", asked both ways round?  ──► entailment
                           └─── up to three drafts, then the grammar's words stay: "grammar"

Names that the question hides may not occur in the new words, whoever wrote them. A judge overlooks a changed year more
easily than a changed thought, so words that it is asked about have the question's figures and names, all and no others.
"""

from __future__ import annotations

import random
import re

from datagen.errors import ParseError
from datagen.knowledge.answer_forms import contains_words, words_of
from datagen.knowledge.formula import EntityRef, Match, Query, walk_clues
from datagen.language.parse import same_meaning
from datagen.synthesis.settings import Workbench

DRAFTS = 3
GRAMMAR, PARSED, ENTAILED = "grammar", "parse_back", "entailment"
_FIGURES = re.compile(r"\d+")


def reworded(
    bench: Workbench, question: str, query: Query, hidden: tuple[str, ...], rng: random.Random
) -> tuple[str, str]:
    """(words, whose they are): the model's where one draft holds, else the grammar's."""
    if bench.rewriter is None or rng.random() >= bench.rewriter_share:
        return question, GRAMMAR
    for _ in range(DRAFTS):
        words = bench.rewriter.reword(question, rng)
        if words == question or _names_any(words, hidden):
            continue
        if _reads_back(bench, words, query):
            return words, PARSED
        if bench.judge is not None and _keeps(question, words, query) and _is_same(bench, question, words):
            return words, ENTAILED
    return question, GRAMMAR


def _reads_back(bench: Workbench, words: str, query: Query) -> bool:
    try:
        return same_meaning(bench.parser.parse(words), query)
    except ParseError:
        return False


def _keeps(question: str, words: str, query: Query) -> bool:
    """Whether the figures are the question's, and the names that it states are there."""
    if sorted(_FIGURES.findall(question)) != sorted(_FIGURES.findall(words)):
        return False
    said = words_of(words)
    return all(contains_words(said, words_of(name)) for name in _stated_names(query))


def _stated_names(query: Query) -> list[str]:
    matches = (clue for _, clue in walk_clues(query.root) if isinstance(clue, Match))
    return [clue.value.name for clue in matches if isinstance(clue.value, EntityRef)]


def _is_same(bench: Workbench, question: str, words: str) -> bool:
    assert bench.judge is not None
    return bench.judge.same_question(question, words) and bench.judge.same_question(words, question)


def _names_any(words: str, hidden: tuple[str, ...]) -> bool:
    said = words_of(words)
    return any(contains_words(said, words_of(name)) for name in hidden)
