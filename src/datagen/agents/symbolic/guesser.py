"""The guesser: answers from the question's words and what is generally true, with no tool at all.

It is the baseline that a search-dependent question must defeat. It is fitted once on a corpus and keeps two things per
kind of answer (entities of a type, values of a relation):

    prior         how often each answer occurs: the most linked-to countries, the most common opening years
    association   which question words go with which answer, where the pair was seen at least `MIN_PAIRS` times:
                  "Ruritania" goes with "Ruritanian"; one club's founding year goes with nothing

An association seen once is a fact, and remembering it would be looking it up; one seen repeatedly is a prior. Scores are
naive Bayes over the known words of the question. The model is a few megabytes at most, since only the `KEPT` most
frequent answers of each kind can be guessed.
"""

from __future__ import annotations

import gzip
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson

from datagen.agents.symbolic.comparison import fold
from datagen.agents.symbolic.page_memory import ParsesQuestions
from datagen.agents.symbolic.solving import STOP_WORDS
from datagen.errors import ParseError
from datagen.knowledge.catalogue import Catalogue
from datagen.records.fact import Entity, Fact

KEPT = 200
MIN_PAIRS = 2
SMOOTHING = 0.5


@dataclass(frozen=True, slots=True)
class PriorModel:
    """Per slot ("type:stadium", "ask:opened"): answers with counts, and word counts by position of the answer."""

    answers: Mapping[str, Sequence[tuple[str, int]]]
    words: Mapping[str, Mapping[str, Mapping[int, int]]]

    def save(self, path: Path) -> None:
        raw = {
            "answers": self.answers,
            "words": {s: {w: list(c.items()) for w, c in ws.items()} for s, ws in self.words.items()},
        }
        path.write_bytes(gzip.compress(orjson.dumps(raw, option=orjson.OPT_SORT_KEYS), mtime=0))

    @classmethod
    def load(cls, path: Path) -> PriorModel:
        raw = orjson.loads(gzip.decompress(path.read_bytes()))
        answers = {s: tuple((a, n) for a, n in rows) for s, rows in raw["answers"].items()}
        return cls(answers, {s: {w: dict(c) for w, c in ws.items()} for s, ws in raw["words"].items()})


class _Said(NamedTuple):
    """A statement without its evidence."""

    subject: str
    relation: str
    object: str
    object_key: str | None


def fit(catalogue: Catalogue, entities: Iterable[Entity], facts: Iterable[Fact]) -> PriorModel:
    """Count answers and word-answer pairs. Two passes over the facts, memory in proportion to distinct names."""
    by_key = {e.key: e for e in entities}
    rows = _distinct(facts)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for fact in rows:
        for slot, answer in _answers_in(catalogue, by_key, fact):
            counts[slot][answer] += 1
    kept = {s: sorted(c.items(), key=lambda a: (-a[1], a[0]))[:KEPT] for s, c in sorted(counts.items())}
    places = {s: {a: i for i, (a, _) in enumerate(answers)} for s, answers in kept.items()}
    context: dict[str, set[str]] = defaultdict(set)
    for fact in rows:
        context[fact.subject] |= _words(fact.object)
        if fact.object_key is not None and fact.object_key in by_key and fact.subject in by_key:
            context[fact.object_key] |= _words(by_key[fact.subject].name)
    pairs: dict[str, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for fact in rows:
        for slot, answer in _answers_in(catalogue, by_key, fact):
            place = places[slot].get(answer)
            if place is not None:
                own = _words(answer)
                # Where the answer is the fact's object, the words around the fact's subject are the evidence.
                around = _words(by_key[fact.subject].name) if fact.subject in by_key else set()
                words = (context[fact.subject] | around if answer == fact.object else _words(fact.object)) - own
                for word in words:
                    pairs[slot][word][place] += 1
    return PriorModel(kept, _frequent(pairs))


def _distinct(facts: Iterable[Fact]) -> list[_Said]:
    """Each statement once, however many pages repeat it: what ten pages say of one club is still one fact."""
    seen: dict[tuple[object, ...], _Said] = {}
    for fact in facts:
        value: object = fact.object_key
        if fact.literal is not None and fact.literal.kind != "text":
            value = (fact.literal.low, fact.literal.high)
        said = _Said(fact.subject, fact.relation, fact.object, fact.object_key)
        seen.setdefault((fact.subject, fact.relation, value or fold(fact.object)), said)
    return list(seen.values())


def _frequent(pairs: Mapping[str, Mapping[str, Counter[int]]]) -> dict[str, dict[str, dict[int, int]]]:
    words: dict[str, dict[str, dict[int, int]]] = {}
    for slot in sorted(pairs):
        for word in sorted(pairs[slot]):
            seen = {place: n for place, n in sorted(pairs[slot][word].items()) if n >= MIN_PAIRS}
            if seen:
                words.setdefault(slot, {})[word] = seen
    return words


def _answers_in(catalogue: Catalogue, by_key: Mapping[str, Entity], fact: _Said) -> list[tuple[str, str]]:
    """What a fact makes more likely: its entities as answers of their types, its object as an answer of its relation."""
    found = [(f"ask:{fact.relation}", fact.object)]
    for key in (fact.subject, fact.object_key):
        entity = by_key.get(key) if key else None
        if entity is not None and entity.type is not None:
            for type_id in (entity.type, *catalogue.types[entity.type].parents):
                found.append((f"type:{type_id}", entity.name))
    return found


def _words(text: str) -> set[str]:
    return {w for w in fold(text).split() if w not in STOP_WORDS}


class PriorGuesser:
    """Guesses by prior and association; deterministic, ties by the answers' order in the model."""

    name = "prior"

    def __init__(self, model: PriorModel, parser: ParsesQuestions) -> None:
        self._model = model
        self._parser = parser

    def guess(self, question: str, attempts: int) -> tuple[str, ...]:
        """Nothing for a question whose kind of answer it cannot tell."""
        slot = self._slot(question)
        answers = self._model.answers.get(slot, ())
        total = sum(n for _, n in answers)
        told = f" {fold(question)} "
        known = self._model.words.get(slot, {})
        scores = [math.log(n / total) for _, n in answers]
        for word in sorted(_words(question) & known.keys()):
            seen = known[word]
            base = sum(seen.values()) / total
            for place, (_, n) in enumerate(answers):
                scores[place] += math.log((seen.get(place, 0) + SMOOTHING * base) / (n + SMOOTHING))
        order = sorted(range(len(answers)), key=lambda place: (-scores[place], place))
        unsaid = [answers[place][0] for place in order if f" {fold(answers[place][0])} " not in told]
        return tuple(unsaid[:attempts])

    def _slot(self, question: str) -> str:
        try:
            query = self._parser.parse(question)
        except ParseError:
            return ""
        return f"ask:{query.ask}" if query.ask else f"type:{query.root.type}"
