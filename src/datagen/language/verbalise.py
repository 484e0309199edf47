"""Formula to words: questions of a few sentences that a reader can follow and the parser reads back.

A tree of depth five in one sentence would be a knot, so the writer works in sentences. Each has one topic and at most
one newly described thing, at its end; what did not fit is said later of "that stadium" or "the second town":

    There is a football club that was founded in the early 1930s and whose home ground is a stadium that was designed
    by an architect who studied at Veltrin University. That stadium has between 4,000 and 6,000 seats. What is the name
    of this football club?

Every draw comes from the generator that the caller gives. `write` parses what it wrote; when that is not the formula, it
tries again with more cautious words, and raises `WordingError` rather than return a question that says something else.
"""

from __future__ import annotations

import random

from datagen.errors import ParseError, WordingError
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.formula import Query
from datagen.language.parse import Parser, same_meaning
from datagen.language.wording import Style
from datagen.language.writer import Writer

_STYLES = (Style(), Style(), Style(quote_names=True), Style(quote_names=True, plain=True))
"""One try each: two free draws, then caution."""


class Verbaliser:
    """Writes questions over one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._parser = Parser(catalogue)

    def write(self, query: Query, rng: random.Random) -> str:
        """An English question that `Parser.parse` reads back to `query` without its keys."""
        trouble = ""
        for style in _STYLES:
            text = Writer(self._parser.table, query, rng, style).write()
            try:
                if same_meaning(self._parser.parse(text), query):
                    return text
                trouble = f"{text!r} reads back as something else."
            except ParseError as error:
                trouble = f"{text!r} does not read back: {error}"
        raise WordingError(f"The formula has no words that say it and nothing else. {trouble}")
