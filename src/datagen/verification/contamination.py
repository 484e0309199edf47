"""No question may come from, or drift into, a public benchmark.

A benchmark is a JSONL file given by path, one object per line with the question under `question`, `prompt`, `query` or
`problem`, and the answer, where there is one, under `answer`. Questions become runs of 8 and of 13 normalised words
(shorter questions count whole), held in one Aho-Corasick automaton that is built once and asked per draft.

    13 words in a row shared     copied
     8 words in a row shared     too close
    the same answer, and a third of all words shared     the same item in other words

Answers alone decide nothing: "France" answers many honest questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ahocorasick
import orjson

from datagen.errors import ConfigError
from datagen.knowledge.answer_forms import accepted_forms, normalise_answer, words_of
from datagen.records.question import Verdict

if TYPE_CHECKING:
    from datagen.synthesis.draft import Draft
    from datagen.verification.gate import GateContext

LONG_NGRAM, SHORT_NGRAM = 13, 8
MIN_WORDS = 5
"""Benchmark questions shorter than this are left out: their words would match by chance."""
SHARED_WORDS = 1 / 3
QUESTION_FIELDS = ("question", "prompt", "query", "problem")


class ContaminationReason(StrEnum):
    COPIED = "benchmark_13gram"
    CLOSE = "benchmark_8gram"
    SAME_ANSWER = "benchmark_answer"


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    source: str
    line: int
    question: str
    answer: str | None


def read_benchmark(path: Path) -> Iterator[BenchmarkItem]:
    """The items of one file; raises `ConfigError` naming the line that is not a JSON object with a question."""
    if not path.is_file():
        raise ConfigError(f"benchmark file {path} does not exist; correct `benchmarks` in the config.")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _item(path, number, line)


def _item(path: Path, number: int, line: bytes) -> BenchmarkItem:
    wanted = "benchmark files are JSONL, one object with a `question` per line; convert it or take it off the config."
    try:
        row: Any = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise ConfigError(f"{path}:{number} is not JSON ({exc}); {wanted}") from exc
    field = next((f for f in QUESTION_FIELDS if isinstance(row, dict) and isinstance(row.get(f), str)), None)
    if field is None:
        raise ConfigError(f"{path}:{number} has no question; {wanted}")
    answer = row.get("answer")
    return BenchmarkItem(path.name, number, row[field], None if answer is None else str(answer))


class BenchmarkIndex:
    """All benchmark questions, ready to be matched against drafts."""

    def __init__(self, items: Iterable[BenchmarkItem]) -> None:
        self._automaton = ahocorasick.Automaton()
        self._by_answer: dict[str, list[tuple[frozenset[str], str]]] = {}
        self.n_items = 0
        for item in items:
            self._add(item)
            self.n_items += 1
        if len(self._automaton):
            self._automaton.make_automaton()

    @classmethod
    def read(cls, paths: Sequence[Path]) -> BenchmarkIndex:
        return cls(item for path in paths for item in read_benchmark(path))

    def _add(self, item: BenchmarkItem) -> None:
        words = words_of(item.question)
        place = f"{item.source}:{item.line}"
        if len(words) >= MIN_WORDS:
            width = min(SHORT_NGRAM, len(words))
            for gram in {words[i : i + width] for i in range(len(words) - width + 1)}:
                key = f" {' '.join(gram)} "
                if key not in self._automaton:
                    self._automaton.add_word(key, (width, place))
        for answer in {normalise_answer(item.answer or "")} - {""}:
            self._by_answer.setdefault(answer, []).append((frozenset(words), place))

    def longest_shared_run(self, question: str) -> tuple[int, str]:
        """(words in a row shared with some benchmark question, where); (0, "") below the short width.

        A run is joined from the short ones that overlap by all but a word, so a shared run of 13 is 6 of 8 in a row.
        """
        if not len(self._automaton):
            return 0, ""
        text = f" {' '.join(words_of(question))} "
        best, place, run, last_end = 0, "", 0, -1
        for end, (width, where) in self._automaton.iter(text):
            word_end = text.count(" ", 0, end)
            run = run + 1 if word_end == last_end + 1 and run else width
            last_end = word_end
            if run > best:
                best, place = run, where
        return best, place

    def same_answer(self, question: str, answers: Iterable[str]) -> str | None:
        """Where an item has one of these answers and shares a third of all words with the question."""
        words = frozenset(words_of(question))
        for answer in answers:
            for theirs, place in self._by_answer.get(normalise_answer(answer), ()):
                if theirs and len(words & theirs) / len(words | theirs) >= SHARED_WORDS:
                    return place
        return None


class Contamination:
    name = "contamination"
    cost = 5

    def check(self, draft: Draft, context: GateContext) -> Verdict:
        if context.benchmarks is None:
            return Verdict(self.name, passed=True, detail="no benchmark files configured")
        shared, place = context.benchmarks.longest_shared_run(draft.question)
        if shared:
            reason = ContaminationReason.COPIED if shared >= LONG_NGRAM else ContaminationReason.CLOSE
            return Verdict(self.name, False, reason.value, f"{shared} words in a row are those of {place}")
        twin = context.benchmarks.same_answer(draft.question, accepted_forms(draft.answer))
        if twin is not None:
            detail = f"same answer and a third of the words of {twin}"
            return Verdict(self.name, False, ContaminationReason.SAME_ANSWER.value, detail)
        return Verdict(self.name, passed=True)
