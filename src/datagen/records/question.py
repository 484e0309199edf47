"""Questions with their proof, and rejects with their reason.

A `Draft` in `synthesis` becomes a `Question` when every gate passes, a `Rejected` at the first that does not. The
dataclasses here are plain data with JSON-able fields; `records.schema` gives their Parquet form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal as OneOf

UNBOUNDED = -1
"""A candidate-set size when entities that no page mentions could match as well."""

AnswerType = OneOf["entity", "date", "number", "text"]


@dataclass(frozen=True, slots=True)
class ClueEvidence:
    """Where one clue of the question is written. `clue` indexes `Certificate.clues`."""

    clue: int
    page_id: str
    url: str
    host: str
    source_kind: str
    published_at: str | None
    start: int
    end: int
    quote: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """The proof that a question has one answer and needs all its clues (architecture §5).

    Clues are all leaf and edge clues of the tree in `formula.walk_clues` order. A size counts every entity that *could*
    match (sure or possible); `UNBOUNDED` where unseen entities could match too.
    """

    mode: OneOf["open_world", "closed_world"]
    answer_set: tuple[str, ...]
    """Keys of entities that surely match; a proof has exactly one."""
    rivals: int
    """How many others could match; a proof has 0, UNBOUNDED means the class was not closed by evidence."""
    clues: tuple[str, ...]
    """One short description per clue, for readers: "plays_at -> stadium", "founded in 1900..1909"."""
    sizes: tuple[int, ...]
    """Candidates left after taking the root's clues in order, each with its whole subtree."""
    necessity: tuple[int, ...]
    """Candidates when clue i alone is left out (subtree included for an edge); > 1 or UNBOUNDED = it is needed."""
    minimal_subset: tuple[int, ...]
    """A smallest set of clues that already identifies the answer (indices into `clues`)."""
    minimal_subset_exact: bool
    """True when all subsets were tried (up to 8 clues), False when the size is an upper bound from a greedy search."""
    min_documents: int
    """Fewest pages that together state every clue."""
    dependency_depth: int
    """Longest chain of lookups on the cheapest identifying route: a child must be known before its parent."""
    exposed_constants: tuple[str, ...]
    """Names and literals that the question states."""
    excluded_by: dict[str, int] = field(default_factory=dict)
    """How rivals were ruled out, counted: stated_value, complete_list, type."""
    assumptions: tuple[str, ...] = ()
    """What was taken as given rather than read, for example a class declared complete by the config."""
    evidence: tuple[ClueEvidence, ...] = ()
    exclusion_evidence: tuple[ClueEvidence, ...] = ()
    """The complete lists and the values that closed the candidate set (first ones, capped)."""

    @property
    def unique(self) -> bool:
        return len(self.answer_set) == 1 and self.rivals == 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate said. `reason` is a short code from the gate's own enumeration, `detail` a sentence."""

    gate: str
    passed: bool
    reason: str = "ok"
    detail: str = ""
    searches: int = 0
    visits: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One solver's try at a question through the tools. `answer` None means it gave up, and `failure` says why."""

    solver: str
    answer: str | None
    answer_key: str | None = None
    failure: OneOf["parse", "retrieval", "reading", "ambiguous", "budget"] | None = None
    searches: int = 0
    visits: int = 0
    urls: tuple[str, ...] = ()
    evidence_urls: tuple[str, ...] = ()
    """The pages on which it found what decided."""
    correct: bool | None = None
    """Whether the answer is the key; None where nobody compared the two."""
    judged: bool = False
    """True where a judge decided, because words alone did not."""


@dataclass(frozen=True, slots=True)
class ClosedBook:
    """What one guesser said without tools. Samples of the audit came after acceptance and stopped nothing."""

    guesser: str
    answers: tuple[str, ...]
    """Of the samples that could have stopped the question."""
    samples: int
    hits: int
    audit_samples: int = 0
    audit_hits: int = 0


@dataclass(frozen=True, slots=True)
class OracleCheck:
    """Tries to answer from the gold pages among distractors (spec infoseek_webexplorer §1.6)."""

    attempts: int
    right: int
    distractors: int
    answers: tuple[str | None, ...]
    """One for each try, None where the reader gave none."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One used fact of a DUETQA chain (spec fathom §1.7)."""

    entity_in: str
    relation: str
    entity_out: str
    fact: str
    url: str
    host: str
    source_kind: str
    published_at: str | None
    as_of: str | None
    quote: str


@dataclass(frozen=True, slots=True)
class Obfuscation:
    """One edit: kind is date, number, entity or connective; sizes are candidates before and after, UNBOUNDED allowed."""

    kind: OneOf["date", "number", "entity", "connective"]
    before: str
    after: str
    size_before: int
    size_after: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A typed, gradable answer.

    `key` is the entity key for entities; `canonical` is ISO for dates, digits + unit for numbers, the name for entities.
    """

    text: str
    type: AnswerType
    canonical: str
    aliases: tuple[str, ...] = ()
    key: str | None = None
    entity_type: str | None = None
    unit: str = ""
