"""Names: pronounceable, of a language that belongs to the country, and distinct where they should be.

A word is a number written in the syllables of a language, so different numbers give different words and nothing needs
to be remembered. Some entities share their name on purpose (two towns called Veltrin): `twin` tells which.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from datagen.web.synthetic.draws import Ring
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.ontology import Sounds

if TYPE_CHECKING:
    from datagen.web.synthetic.world import World

_TOKEN = re.compile(r"\{(\w+)\}")
_GIVEN_NAMES = 64
_LEAST_FOR_PAIR = 8
_VOWELS = "aeiouyāéīūåøöü"
_GIVEN_ENDINGS = ("a", "o", "an", "e", "is", "el", "ina", "us", "i", "or")
_FOLD = str.maketrans({"ø": "o", "ı": "i", "ł": "l", "đ": "d", "æ": "ae", "ß": "ss", "þ": "th", "ð": "d", "œ": "oe"})


@lru_cache(maxsize=65_536)
def slug(name: str) -> str:
    """The name in an address: lower-case ASCII words with hyphens.

    >>> slug("Bjørnå Rovers")
    'bjorna-rovers'
    """
    plain = unicodedata.normalize("NFKD", name.lower().translate(_FOLD)).encode("ascii", "ignore").decode()
    return "-".join(re.findall(r"[a-z0-9]+", plain))


class Namer:
    """Names of all entities of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._book = world.ontology.words
        self._rings: dict[tuple[str, int], Ring] = {}
        self._pairs = {t: _pairs_among(n, world.ontology.kinds[t].twins) for t, n in world.layout.sizes.items()}
        self._given: dict[int, tuple[str, ...]] = {}
        self.name = lru_cache(maxsize=200_000)(self._name)

    def language(self, ref: Ref) -> int:
        """The language of the entity's country."""
        country = self._world.layout.country(ref)
        first = self._world.draws.bits("first language")
        return (first + country * 3) % len(self._book.languages)

    def pairs(self, type_id: str) -> int:
        """How many pairs of entities of a type share a name."""
        return self._pairs[type_id]

    def _twin_ring(self, type_id: str) -> Ring:
        return self._world.page_ring(type_id)

    def pair_of(self, ref: Ref) -> int | None:
        """The number of the pair that the entity belongs to; None for most."""
        rank = self._twin_ring(ref.type).forward(ref.index)
        return rank // 2 if rank < 2 * self.pairs(ref.type) else None

    def pair(self, type_id: str, number: int) -> tuple[Ref, Ref]:
        """The two entities that share a name."""
        ring = self._twin_ring(type_id)
        return Ref(type_id, ring.inverse(2 * number)), Ref(type_id, ring.inverse(2 * number + 1))

    def _name(self, ref: Ref) -> str:
        pair = self.pair_of(ref)
        if pair is not None:
            ref = self.pair(ref.type, pair)[0]
        kind = self._world.ontology.kinds[ref.type]
        pattern = kind.names[self._world.draws.below(len(kind.names), f"pattern/{ref.type}", ref.index)]
        return _TOKEN.sub(lambda match: self._token(match[1], ref), pattern)

    def _token(self, slot: str, ref: Ref) -> str:
        draws, sounds = self._world.draws, self._book.languages[self.language(ref)]
        if slot in {"Word", "Words", "Middle"}:
            word = self._word(f"{slot}/{ref.type}", ref, sounds, ())
            return f"{word}s" if slot == "Words" and not word.endswith("s") else word
        if slot == "Place":
            return self._word(f"place/{ref.type}", ref, sounds, sounds.place)
        if slot == "Land":
            return self._word("land", ref, sounds, sounds.land)
        if slot == "Tongue":
            return self._word("tongue", ref, sounds, (sounds.tongue,))
        if slot == "Family":
            return self._word(f"family/{ref.type}", ref, sounds, sounds.family)
        if slot == "Given":
            names = self._given_names(self.language(ref))
            return names[draws.below(len(names), f"given/{ref.type}", ref.index)]
        if slot == "Ordinal":
            count = self._world.layout.per[ref.type][1]
            return self._book.ordinals[ref.index % count]
        if slot == "Of":
            return self._whole(ref, sounds)
        lists = {
            "Adjective": self._book.adjectives,
            "Noun": self._book.nouns,
            "Nouns": self._book.nouns,
            "Beast": self._book.beasts,
        }
        word = lists[slot][draws.below(len(lists[slot]), f"{slot}/{ref.type}", ref.index)]
        return _plural(word) if slot == "Nouns" else word

    def _whole(self, ref: Ref, sounds: Sounds) -> str:
        """What editions are editions of: the award's own name, or the name of the cup."""
        whole, count = self._world.layout.per[ref.type]
        of = Ref(whole, ref.index // count)
        return self.name(of) if whole == "award" else self._word(f"cup/{whole}", of, sounds, ())

    def _given_names(self, language: int) -> tuple[str, ...]:
        if language not in self._given:
            sounds, draws = self._book.languages[language], self._world.draws
            found: dict[str, None] = {}
            number = 0
            while len(found) < _GIVEN_NAMES:
                bits = draws.bits("given name", language, number)
                ending = _GIVEN_ENDINGS[bits % len(_GIVEN_ENDINGS)]
                word = self._spell(bits // 16, sounds, 1 + bits % 2, ending)
                if 3 < len(word) < 9 and not self._is_real(word):
                    found[word] = None
                number += 1
            self._given[language] = tuple(found)
        return self._given[language]

    def _word(self, what: str, ref: Ref, sounds: Sounds, endings: tuple[str, ...]) -> str:
        """A word of its own for this entity among all of its type."""
        draws = self._world.draws
        size = self._world.layout.sizes[ref.type]
        short = _space(sounds, 1) * max(1, len(endings))
        syllables = 1 if endings and short > 3 * size and draws.bits(f"long/{what}", ref.index) % 3 else 2
        space = _space(sounds, syllables) * max(1, len(endings))
        key = what, space
        if key not in self._rings:
            self._rings[key] = Ring(space, draws.bits(f"words/{what}", space))
        code = self._rings[key].forward(ref.index)
        ending = endings[code % len(endings)] if endings else ""
        word = self._spell(code // max(1, len(endings)), sounds, syllables, ending)
        return f"{word[:-1]}ane" if self._is_real(word) else word

    def _is_real(self, word: str) -> bool:
        """Whether the syllables have hit upon a name of the real world, accents aside."""
        return slug(word).capitalize() in self._book.avoid

    @staticmethod
    def _spell(code: int, sounds: Sounds, syllables: int, ending: str) -> str:
        parts: list[str] = []
        for number in range(syllables):
            code, onset = divmod(code, len(sounds.onsets))
            code, nucleus = divmod(code, len(sounds.nuclei))
            code, coda = divmod(code, len(sounds.codas))
            parts.append(sounds.onsets[onset] + sounds.nuclei[nucleus])
            # Inside a word a heavy coda before an onset makes knots nobody can say.
            if number == syllables - 1 or len(sounds.codas[coda]) < 2:
                parts.append(sounds.codas[coda])
        word = "".join(parts)
        if ending and ending[0] in _VOWELS and word[-1] in _VOWELS:
            # Two vowels meet: the ending gives way, so that different syllables stay different words.
            ending = ending.lstrip(_VOWELS) or ending[-1]
        word = _soften(word + ending)
        return word[0].upper() + word[1:]


def _pairs_among(size: int, percent: int) -> int:
    return max(size * percent // 200, 1 if percent and size >= _LEAST_FOR_PAIR else 0)


def _space(sounds: Sounds, syllables: int) -> int:
    one: int = len(sounds.onsets) * len(sounds.nuclei) * len(sounds.codas)
    return one if syllables == 1 else one * one


def _soften(word: str) -> str:
    """No letter three times in a row."""
    return re.sub(r"(.)\1\1+", r"\1\1", word)


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"
