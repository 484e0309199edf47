"""Other pages that state what a question's evidence states, looked up in the facts that were read from a snapshot.

    evidence of the clue "in_region -> region"    pg1-11 "Blidhythe is located in Gethhythe Valley."   at most three
    facts at that span                            (blidhythe, in_region, gethhythe-valley)
    restated on                                   pg1-70 [85:118] "Region: Gethhythe Valley", ... on every such page

A certificate keeps three places per clue. An attempt that reads a fourth has found the fact as well, so attempts are judged
by all of them. The fact behind a clue is found by walking the tree from the answer: under an edge, of the things that the
evidence ties to the entity, the one that the clues below it are evidenced for. Where the walk is not certain of one thing,
nothing is added. Restatements keep to what the clue asks: the same two ends or a value inside the range, on the day asked
for, on a page of a kind that proofs trust.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datagen.errors import SnapshotError
from datagen.knowledge.formula import Clue, Edge, EntityRef, IsA, Match, Node, Within, query_from_dict, walk_clues
from datagen.knowledge.literals import contains
from datagen.records.fact import Literal
from datagen.records.page import LOW_TRUST_KINDS

_COLUMNS = ("subject", "relation", "object_key", "literal_kind", "literal_text", "low", "high", "unit",
            "valid_from", "as_of", "page_id", "url", "start", "end", "quote")  # fmt: skip

Span = tuple[str, int, int]
"""Page id, start and end of a quote."""


@dataclass(frozen=True, slots=True)
class Stated:
    """A fact as one place states it."""

    subject: str
    relation: str
    object_key: str | None
    literal: Literal | None
    valid_from: str | None
    as_of: str | None
    page_id: str
    url: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True)
class Restated:
    """Every place known to state a clue, and names of the thing that they state it of."""

    places: tuple[Stated, ...]
    subject: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restatements:
    """The facts that the evidence of some questions rests on, with every place that states them."""

    at: Mapping[Span, tuple[Stated, ...]]
    """What is stated at a span of evidence."""
    about: Mapping[tuple[str, str], tuple[Stated, ...]]
    """Everything that is stated of a subject by a relation."""
    names: Mapping[str, tuple[str, ...]]
    """Key of a thing that a clue or an asked value is about -> its names."""

    @classmethod
    def read(cls, snapshot: Path, rows: Sequence[Mapping[str, Any]]) -> Restatements:
        """The facts of a snapshot that concern these rows of `questions`."""
        files = sorted((snapshot / "knowledge").glob("facts-*.parquet"))
        if not files:
            raise SnapshotError(
                f"{snapshot} has no facts; read its pages with: datagen snapshot build {snapshot} SOURCE"
            )
        spans = {(e["page_id"], e["start"], e["end"]) for row in rows for e in row["evidence"] or ()}
        pages = pa.array(sorted({span[0] for span in spans}), pa.string())
        near = [s for s in _read(files, "page_id", pages) if (s.page_id, s.start, s.end) in spans]
        at: dict[Span, list[Stated]] = {}
        for stated in near:
            at.setdefault((stated.page_id, stated.start, stated.end), []).append(stated)
        wanted = {(stated.subject, stated.relation) for stated in near}
        about: dict[tuple[str, str], list[Stated]] = {}
        for stated in _read(files, "subject", pa.array(sorted({subject for subject, _ in wanted}), pa.string())):
            if (stated.subject, stated.relation) in wanted:
                about.setdefault((stated.subject, stated.relation), []).append(stated)
        keys = {subject for subject, _ in wanted} | {row["answer_entity"] for row in rows if row["answer_entity"]}
        names = _names(snapshot / "knowledge" / "entities.parquet", keys)
        return cls({k: tuple(v) for k, v in at.items()}, {k: tuple(v) for k, v in about.items()}, names)

    def answer_names(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the thing whose date or number is the answer; none where the answer is a thing itself."""
        return () if row["answer_type"] == "entity" else self.names.get(row["answer_entity"], ())

    def of(self, row: Mapping[str, Any]) -> dict[int, Restated]:
        """For each clue of a question, where it is known what it is about, every place that states it."""
        proof = row["certificate"]
        if not proof or len(proof["answer_set"]) != 1 or not row["tree"]:
            return {}
        root = query_from_dict(json.loads(row["tree"])).root
        evidence: dict[int, list[Stated]] = {}
        for item in row["evidence"] or ():
            evidence.setdefault(item["clue"], []).extend(self.at.get((item["page_id"], item["start"], item["end"]), ()))
        walk = _Walk(evidence)
        walk.follow(root, proof["answer_set"][0], 0)
        return {number: self._all(*found) for number, found in walk.found.items()}

    def _all(self, clue: Match | Within | Edge, subject: str, other: str | None) -> Restated:
        stated = self.about.get((subject, clue.relation), ())
        return Restated(tuple(s for s in stated if _meets(s, clue, other)), self.names.get(subject, ()))


def _names(file: Path, keys: Collection[str]) -> dict[str, tuple[str, ...]]:
    wanted = pa.array(sorted(keys), pa.string())
    found: dict[str, tuple[str, ...]] = {}
    with pq.ParquetFile(file) as entities:
        for batch in entities.iter_batches(columns=["key", "name", "aliases"]):
            for row in batch.filter(pc.is_in(batch["key"], value_set=wanted)).to_pylist():
                found[row["key"]] = (row["name"], *(row["aliases"] or ()))
    return found


def _read(files: Sequence[Path], column: str, values: pa.StringArray) -> Iterator[Stated]:
    low = pa.array(sorted(LOW_TRUST_KINDS), pa.string())
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=[*_COLUMNS, "source_kind"]):
                kept = pc.and_(
                    pc.is_in(batch[column], value_set=values), pc.invert(pc.is_in(batch["source_kind"], value_set=low))
                )
                yield from map(_stated, batch.filter(kept).to_pylist())


def _stated(raw: Mapping[str, Any]) -> Stated:
    literal = None
    if raw["object_key"] is None and raw["literal_kind"] is not None:
        literal = Literal(raw["literal_kind"], raw["literal_text"], raw["low"], raw["high"], raw["unit"] or "")
    names = ("subject", "relation", "object_key", "valid_from", "as_of", "page_id", "url", "start", "end", "quote")
    return Stated(literal=literal, **{name: raw[name] for name in names})


class _Walk:
    """Finds the two ends of every clue, from the answer down."""

    def __init__(self, evidence: Mapping[int, Sequence[Stated]]) -> None:
        self._evidence = evidence
        self.found: dict[int, tuple[Match | Within | Edge, str, str | None]] = {}

    def follow(self, node: Node, entity: str, number: int) -> None:
        """`number` is that of the vertex's first clue in the walk order of the certificate."""
        for clue in node.clues:
            if not isinstance(clue, IsA):
                others = self._others(clue, entity, number)
                if len(others) == 1:
                    other = others[0]
                    inverse = isinstance(clue, (Match, Edge)) and clue.inverse and other is not None
                    ends = (str(other), entity) if inverse else (entity, other)
                    self.found[number] = (clue, *ends)
                    if isinstance(clue, Edge) and other is not None:
                        self.follow(clue.child, other, number + 1)
            number += _size(clue)

    def _others(self, clue: Match | Within | Edge, entity: str, number: int) -> Sequence[str | None]:
        """What stands at the other end of a clue's evidence; None for a value."""
        if isinstance(clue, Within) or (isinstance(clue, Match) and not isinstance(clue.value, EntityRef)):
            return [None] if any(_is_of(s, clue, entity) for s in self._evidence.get(number, ())) else []
        if isinstance(clue, Match):
            return [clue.value.key] if isinstance(clue.value, EntityRef) else []
        ends = {
            s.subject if clue.inverse else s.object_key
            for s in self._evidence.get(number, ())
            if s.relation == clue.relation and (s.object_key if clue.inverse else s.subject) == entity
        } - {None}
        # Where only a complete list states the edge, the clues below it still tell whom it leads to.
        ends = ends or self._told_below(clue.child, number + 1)
        return sorted(end for end in ends if end is not None and self._is_evidenced(clue.child, end, number + 1))

    def _told_below(self, node: Node, number: int) -> set[str | None]:
        """Entities that the evidence of a vertex's clues speaks of."""
        told: set[str | None] = set()
        for clue in node.clues:
            if not isinstance(clue, IsA):
                inverse = not isinstance(clue, Within) and clue.inverse
                stated = [s for s in self._evidence.get(number, ()) if s.relation == clue.relation]
                told |= {s.object_key if inverse else s.subject for s in stated}
            number += _size(clue)
        return told

    def _is_evidenced(self, node: Node, entity: str, number: int) -> bool:
        """Whether each clue of a vertex has evidence about this entity, or evidence that tells nothing of entities."""
        for clue in node.clues:
            told = [
                s for s in self._evidence.get(number, ()) if not isinstance(clue, IsA) and s.relation == clue.relation
            ]
            if told and not any(_is_of(s, clue, entity) for s in told):
                return False
            number += _size(clue)
        return True


def _is_of(stated: Stated, clue: Clue, entity: str) -> bool:
    inverse = isinstance(clue, (Match, Edge)) and clue.inverse
    return (stated.object_key if inverse else stated.subject) == entity


def _size(clue: Clue) -> int:
    return 1 + sum(1 for _ in walk_clues(clue.child)) if isinstance(clue, Edge) else 1


def _meets(stated: Stated, clue: Match | Within | Edge, other: str | None) -> bool:
    """Whether a statement about the right subject says what the clue asks."""
    if clue.as_of and not (stated.valid_from or "") <= clue.as_of <= (stated.as_of or "9999"):
        return False
    if other is not None:
        return stated.object_key == other
    literal = stated.literal
    if literal is None:
        return False
    if isinstance(clue, Within):
        return (
            literal.kind == clue.kind
            and literal.unit == clue.unit
            and clue.low <= literal.low <= literal.high <= clue.high
        )
    return isinstance(clue, Match) and isinstance(clue.value, Literal) and contains(clue.value, literal)
