"""A vocabulary of words, with places for the names that a conversation brings along.

    Which region contains the town where Aga Brun was born ?
    Which region contains the town where <17> <203> was born ?          17 is Aga here, and something else elsewhere

Words that pages of every sort use are tokens. All others, names and numbers above all, get one of a few hundred places,
drawn anew for every conversation and kept while it lasts: entity anonymisation (Hermann et al. 2015, arXiv 1506.03340).
So no name can be learned by heart, a name in a world that nobody has seen is no stranger than any other, and to copy one
is to repeat one token a word. A conversation's table turns what the model writes back into words. It is a function of
the question alone, so all attempts at a question begin with the same tokens.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from datagen import storage
from datagen.records.ids import rng_for

PIECE = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’\-][^\W\d_]+)*|\n|[^\w\s]|_")
"""A number, a word, a line break, or a mark of punctuation; blanks are what stands between them."""
CLOSING = frozenset(".,;:!?)]}%'’\n")
"""No blank before these."""
OPENING = frozenset("([{\n")
"""No blank behind these."""
COMMON_NAMES = 40
"""A word of so many entities' names is no name but a sort of thing (New, University, Cup)."""
DIGITS = tuple(map(str, range(10)))
"""Results are chosen by their number."""
OTHER = "<other>"
"""A word for which no place was left, and a place that nothing was given to."""
KIND = "words"


class WordTokenizer:
    """Marks, places, and known words. Marks are only ever made by name."""

    def __init__(self, words: Sequence[str], marks: Sequence[str], places: int) -> None:
        self.words = tuple(words)
        self.places = places
        self.marks = {name: number for number, name in enumerate((*marks, OTHER))}
        self.first_place = len(self.marks)
        self.first_word = self.first_place + places
        self._names = {number: name for name, number in self.marks.items() if name != OTHER}
        self.known = {word: self.first_word + number for number, word in enumerate(self.words)}

    @classmethod
    def make(
        cls, texts: Iterable[str], names: Iterable[str], *, size: int, marks: Sequence[str], places: int
    ) -> WordTokenizer:
        """The most frequent pieces of `texts`, as many as fit, without those of `names`; a piece counts once in a text."""
        named = Counter(piece for name in names for piece in set(PIECE.findall(name)))
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(set(PIECE.findall(text)))
        room = size - places - len(marks) - 1
        if room < 1:
            raise ValueError(f"a vocabulary of {size} tokens has no room for words beside {places} places")
        frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [piece for piece, _ in frequent if named[piece] == 0 or named[piece] >= COMMON_NAMES]
        words = [piece for piece in kept if not piece[0].isdigit()]
        return cls([*DIGITS, *words][:room], marks, places)

    @property
    def size(self) -> int:
        return self.first_word + len(self.words)

    def mark(self, name: str) -> int:
        return self.marks[name]

    def mark_name(self, token: int) -> str | None:
        return self._names.get(token)

    def begin(self, question: str) -> WordTable:
        return WordTable(self, question)

    def save(self, file: str | Path) -> None:
        marks = [name for name in self.marks if name != OTHER]
        storage.write_json(str(file), {"kind": KIND, "words": self.words, "marks": marks, "places": self.places})

    @classmethod
    def of(cls, raw: dict[str, Any]) -> WordTokenizer:
        """What `save` wrote."""
        return cls(raw["words"], raw["marks"], raw["places"])


class WordTable:
    """The places of one conversation."""

    def __init__(self, tokenizer: WordTokenizer, question: str) -> None:
        self._tokenizer = tokenizer
        self._free = list(range(tokenizer.first_place, tokenizer.first_word))
        rng_for("places", question).shuffle(self._free)
        self._place_of: dict[str, int] = {}
        self._word_of: dict[int, str] = {}

    def mark(self, name: str) -> int:
        return self._tokenizer.mark(name)

    def mark_name(self, token: int) -> str | None:
        return self._tokenizer.mark_name(token)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text; words that are new to the conversation get a place."""
        return [self._token(piece) for piece in PIECE.findall(text)]

    def _token(self, piece: str) -> int:
        known = self._tokenizer.known.get(piece)
        if known is not None:
            return known
        place = self._place_of.get(piece)
        if place is None:
            if not self._free:
                return self._tokenizer.marks[OTHER]
            place = self._place_of[piece] = self._free.pop()
            self._word_of[place] = piece
        return place

    def decode(self, tokens: Sequence[int]) -> str:
        """Words of tokens, with blanks where English has them: names come back as they were."""
        text = ""
        for piece in map(self._piece, tokens):
            glued = not text or text[-1] in OPENING or piece in CLOSING
            text += piece if glued else f" {piece}"
        return text

    def _piece(self, token: int) -> str:
        tokenizer = self._tokenizer
        if token >= tokenizer.first_word:
            number = token - tokenizer.first_word
            return tokenizer.words[number] if number < len(tokenizer.words) else OTHER
        return self._word_of.get(token) or tokenizer.mark_name(token) or OTHER
