"""All statements as columns: one row per fact, entities and values as numbers, evidence read on demand.

A *code* is one int32 that names either an entity (its id) or a typed value (number of entities + index of the value).
Ids follow the order of entity keys, value indices the order of (kind, low, high, unit, normal text), rows the order of
(relation, subject, code, trust, date, address): nothing depends on the order in which facts arrive.

A closed list states its members too: each member of a trusted complete list becomes a statement with the list's
evidence, so that membership proves and conflicts like any other statement.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from datagen.knowledge.arrays import Arrays, Ids, StringTable
from datagen.knowledge.catalogue import Catalogue
from datagen.knowledge.dates import iso, ordinal
from datagen.knowledge.literals import normalise_text
from datagen.records.fact import Closure, Entity, Evidence, Fact, Literal
from datagen.records.ids import sha256_hex
from datagen.records.page import LOW_TRUST_KINDS

RANKS = {"official": 4, "registry": 4, "encyclopedia": 3, "reference": 3} | dict.fromkeys(
    ("news", "list", "table", "profile", "review"), 2
)
"""Trust by source kind; 1 for every other kind, 0 for the low-trust ones."""
UNKNOWN_DAY = 0
"""Stands for "no date"; the first real day number is 1 (years BC do not occur as days of statements)."""
ALWAYS = (-(2**31), 2**31 - 1)
KINDS = ("date", "number", "text")
_SEPARATOR = "\x1f"


def rank_of(source_kind: str) -> int:
    return 0 if source_kind in LOW_TRUST_KINDS else RANKS.get(source_kind, 1)


@lru_cache(maxsize=65_536)
def day_or_unknown(text: str | None) -> int:
    """Day number of an ISO day; `UNKNOWN_DAY` for a missing or unreadable one."""
    try:
        return max(ordinal(text[:10]), UNKNOWN_DAY) if text else UNKNOWN_DAY
    except ValueError:
        return UNKNOWN_DAY


def period_of(valid_from: str | None, as_of: str | None) -> tuple[int, int]:
    """First and last day that a statement speaks of; (UNKNOWN_DAY, UNKNOWN_DAY) when it does not say."""
    first, last = day_or_unknown(valid_from), day_or_unknown(as_of)
    first, last = first or last, last or first
    return (first, last) if first <= last else (UNKNOWN_DAY, UNKNOWN_DAY)


def value_key(literal: Literal) -> tuple[str, float, float, str, str]:
    """Literals with equal keys state the same value with the same precision."""
    if literal.kind == "text":
        return ("text", 0.0, 0.0, "", normalise_text(literal.text))
    return (literal.kind, literal.low, literal.high, literal.unit, "")


@dataclass(slots=True)
class Collected:
    """The collector's result: arrays by name, and what resolution needs in memory."""

    keys: list[str]
    values: list[Literal]
    arrays: Arrays
    member_lists: list[Ids]
    """Members of each closure, ascending."""
    skipped: int


class Collector:
    """Takes facts and closures one by one; `finish` sorts everything into its final numbering."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._relations = {name: i for i, name in enumerate(catalogue.relations)}
        self._types = {name: i for i, name in enumerate(catalogue.types)}
        self._changes = [r.changes for r in catalogue.relations.values()]
        self._entities: dict[str, int] = {}
        self._values: dict[tuple[str, float, float, str, str], int] = {}
        self._literals: list[Literal] = []
        self._seen: dict[Literal, int] = {}
        self._pages: dict[str, int] = {}
        self._page_rows: list[tuple[str, str, str, str]] = []
        self._page_ranks: list[int] = []
        self._page_days: list[int] = []
        self._rows = {name: array("i") for name in ("rel", "subj", "code", "page", "start", "end", "first", "last", "derived")}  # fmt: skip
        self._quotes = bytearray()
        self._quote_ends = array("q", [0])
        self._lists: list[tuple[int, int, int, int, int, int, int, int, list[int]]] = []
        self._list_quotes: list[str] = []
        self.names: dict[str, str] = {}
        self.skipped = 0

    def entity(self, key: str, name: str = "") -> int:
        number = self._entities.setdefault(key, len(self._entities))
        if name and name < self.names.get(key, name + "\0"):
            self.names[key] = name
        return number

    def _value(self, literal: Literal) -> int:
        """Negative, so that values and entities share one column until their final numbers are known."""
        number = self._seen.get(literal)
        if number is None:
            number = self._values.setdefault(value_key(literal), len(self._values))
            if number == len(self._literals):
                self._literals.append(literal)
            elif (len(literal.text), literal.text) < (len(self._literals[number].text), self._literals[number].text):
                self._literals[number] = literal
            self._seen[literal] = number
        return -1 - number

    def _page(self, evidence: Evidence) -> int:
        number = self._pages.get(evidence.page_id)
        if number is None:
            number = self._pages[evidence.page_id] = len(self._pages)
            self._page_rows.append((evidence.page_id, evidence.url, evidence.source_kind, evidence.published_at or ""))
            self._page_ranks.append(rank_of(evidence.source_kind))
            self._page_days.append(day_or_unknown(evidence.published_at))
        return number

    def add_fact(self, fact: Fact, *, derived: bool = False) -> None:
        """Facts of relations that the catalogue lacks are counted in `skipped`."""
        relation = self._relations.get(fact.relation)
        if relation is None:
            self.skipped += 1
            return
        if fact.object_key is not None:
            code = self.entity(fact.object_key, fact.object)
        elif fact.literal is not None:
            code = self._value(fact.literal)
        else:
            self.skipped += 1
            return
        first, last = period_of(fact.valid_from, fact.as_of) if self._changes[relation] else ALWAYS
        evidence, rows = fact.evidence, self._rows
        rows["rel"].append(relation)
        rows["subj"].append(self.entity(fact.subject))
        rows["code"].append(code)
        rows["page"].append(self._page(evidence))
        rows["start"].append(evidence.start)
        rows["end"].append(evidence.end)
        rows["first"].append(first)
        rows["last"].append(last)
        rows["derived"].append(derived)
        self._quotes += evidence.quote.encode()
        self._quote_ends.append(len(self._quotes))

    def add_closure(self, closure: Closure) -> None:
        """Keep a trusted complete list, and state its members; lists on low-trust pages say nothing."""
        if rank_of(closure.evidence.source_kind) == 0:
            return
        relation = self._relations.get(closure.relation, -1)
        type_code = self._types.get(closure.entity_type or "", -1)
        if (relation < 0) != (closure.side == "members") or (closure.entity_type and type_code < 0):
            self.skipped += 1
            return
        changes = relation >= 0 and self._changes[relation]
        day = closure.as_of or closure.evidence.published_at
        first = period_of(day, day)[0] if changes else ALWAYS[0]
        if first == UNKNOWN_DAY:
            self.skipped += 1  # a list of what changes, without a day, is complete on no known day
            return
        members = [self.entity(m) for m in closure.members]
        anchor = 0
        if closure.anchor_key is not None:
            anchor = self.entity(closure.anchor_key)
        elif closure.anchor_literal is not None:
            anchor = self._value(closure.anchor_literal)
        elif closure.side != "members":
            self.skipped += 1
            return
        evidence = closure.evidence
        side = ("subjects", "objects", "members").index(closure.side)
        self._lists.append((side, relation, anchor, type_code, first, self._page(evidence), evidence.start, evidence.end, members))  # fmt: skip
        self._list_quotes.append(evidence.quote)
        if closure.side == "members":
            return
        for member in closure.members:
            of_anchor = closure.side == "subjects"
            subject, other = (member, closure.anchor_key) if of_anchor else (closure.anchor_key, member)
            literal = closure.anchor_literal if other is None else None
            if subject is not None:
                self.add_fact(Fact(subject, closure.relation, "", other, literal, evidence, day, day), derived=True)

    def finish(self, entities: Iterable[Entity]) -> tuple[Collected, list[Entity | None]]:
        """Final numbering. Also returns the entity rows in id order, None where no row describes a key."""
        described: dict[str, Entity] = {}
        for entity in entities:
            self.entity(entity.key)
            described.setdefault(entity.key, entity)
        keys = sorted(self._entities)
        entity_number = np.empty(len(keys), np.int32)
        entity_number[[self._entities[k] for k in keys]] = np.arange(len(keys), dtype=np.int32)
        ordered = sorted(self._values, key=lambda k: (KINDS.index(k[0]), *k[1:]))
        value_number = np.empty(len(ordered), np.int32)
        value_number[[self._values[k] for k in ordered]] = np.arange(len(ordered), dtype=np.int32)
        values = [self._literals[self._values[k]] for k in ordered]

        def final(codes: npt.NDArray[np.int32]) -> Ids:
            if not len(codes):
                return codes
            as_value = value_number[np.maximum(-1 - codes, 0)] if len(values) else np.zeros_like(codes)
            as_entity = entity_number[np.maximum(codes, 0)]
            return np.where(codes >= 0, as_entity, len(keys) + as_value).astype(np.int32)

        arrays, page_number = self._page_arrays()
        arrays |= self._statement_arrays(final, entity_number, page_number)
        member_lists = self._list_arrays(arrays, final, entity_number, page_number)
        collected = Collected(keys, values, arrays, member_lists, self.skipped)
        return collected, [described.get(k) for k in keys]

    def _page_arrays(self) -> tuple[Arrays, Ids]:
        order = sorted(range(len(self._page_rows)), key=lambda i: (self._page_rows[i][1], self._page_rows[i][0]))
        number = np.empty(len(order), np.int32)
        number[order] = np.arange(len(order), dtype=np.int32)
        table = StringTable.of(_SEPARATOR.join(self._page_rows[i]) for i in order)
        ranks = np.array([self._page_ranks[i] for i in order], np.int8)
        days = np.array([self._page_days[i] for i in order], np.int32)
        return table.arrays("pages") | {"page_rank": ranks, "page_day": days}, number

    def _statement_arrays(self, final: Callable[[Ids], Ids], entity_number: Ids, page_number: Ids) -> Arrays:
        raw = {name: np.frombuffer(column, np.int32) if len(column) else np.empty(0, np.int32) for name, column in self._rows.items()}  # fmt: skip
        subj = entity_number[raw["subj"]] if len(raw["subj"]) else raw["subj"]
        code = final(raw["code"])
        page = page_number[raw["page"]] if len(raw["page"]) else raw["page"]
        rank = np.array(self._page_ranks, np.int8)[raw["page"]] if len(page) else np.empty(0, np.int8)
        day = np.array(self._page_days, np.int32)[raw["page"]] if len(page) else np.empty(0, np.int32)
        order = np.lexsort((raw["end"], raw["start"], page, -day, -rank, code, subj, raw["rel"]))
        ends = np.frombuffer(self._quote_ends, np.int64)
        key = (raw["rel"].astype(np.int64) << 32) | subj
        columns: Arrays = {"code": code, "page": page, "rank": rank, "day": day, "quote_start": ends[:-1], "quote_end": ends[1:], "key": key}  # fmt: skip
        columns |= {name: raw[name] for name in ("start", "end", "first", "last")} | {"derived": raw["derived"].astype(np.int8)}  # fmt: skip
        arrays = {f"st_{name}": column[order] for name, column in columns.items()}
        quotes = np.frombuffer(bytes(self._quotes), np.uint8)
        self._quotes = bytearray()
        return arrays | {"st_quotes": quotes}

    def _list_arrays(
        self, arrays: Arrays, final: Callable[[Ids], Ids], entity_number: Ids, page_number: Ids
    ) -> list[Ids]:
        rows = []
        for (side, rel, anchor, type_code, day, page, start, end, members), quote in zip(
            self._lists, self._list_quotes, strict=True
        ):
            code = int(final(np.array([anchor], np.int32))[0]) if side < 2 else -1
            ids = np.unique(entity_number[members]).astype(np.int32) if members else np.empty(0, np.int32)
            rows.append(((side, rel, code, type_code, day, int(page_number[page]), start, end), quote, ids))
        rows.sort(key=lambda row: (row[0], row[1]))
        table = np.array([row[0] for row in rows], np.int32).reshape(len(rows), 8)
        arrays["lists"] = table
        arrays |= StringTable.of(row[1] for row in rows).arrays("list_quotes")
        return [row[2] for row in rows]


class Statements:
    """Evidence of a loaded graph: rows by (relation, subject), turned into `Evidence` when asked for."""

    def __init__(self, arrays: Arrays) -> None:
        self._pages = StringTable.load(arrays, "pages")
        self.key = arrays["st_key"]
        self.code = arrays["st_code"]
        self.page = arrays["st_page"]
        self.rank = arrays["st_rank"]
        self.day = arrays["st_day"]
        self.first = arrays["st_first"]
        self.last = arrays["st_last"]
        self.derived = arrays["st_derived"]
        self._start, self._end = arrays["st_start"], arrays["st_end"]
        self._quote_start, self._quote_end = arrays["st_quote_start"], arrays["st_quote_end"]
        self._quotes = arrays["st_quotes"]
        self._page_cache: dict[int, tuple[str, str, str, str | None]] = {}

    def rows(self, relation: int, subject: int) -> range:
        """Rows that state something about (subject, relation)."""
        key = np.int64((relation << 32) | subject)
        low = int(self.key.searchsorted(key))
        high = low
        while high < len(self.key) and self.key[high] == key:
            high += 1
        return range(low, high)

    def page_row(self, page: int) -> tuple[str, str, str, str | None]:
        """(page id, url, source kind, published_at) of a page number."""
        row = self._page_cache.get(page)
        if row is None:
            if len(self._page_cache) > 50_000:
                self._page_cache.clear()
            page_id, url, kind, published = self._pages[page].split(_SEPARATOR)
            row = self._page_cache[page] = (page_id, url, kind, published or None)
        return row

    def evidence(self, row: int) -> Evidence:
        raw = self._quotes[self._quote_start[row] : self._quote_end[row]].tobytes()
        return self.evidence_at(int(self.page[row]), int(self._start[row]), int(self._end[row]), raw)

    def evidence_at(self, page: int, start: int, end: int, quote: bytes) -> Evidence:
        page_id, url, kind, published = self.page_row(page)
        return Evidence(page_id, url, start, end, quote.decode(), sha256_hex(quote), kind, published)

    def period(self, row: int) -> tuple[str | None, str | None]:
        """ISO days that a row of a changing relation speaks of."""
        first, last = int(self.first[row]), int(self.last[row])
        if first in (ALWAYS[0], UNKNOWN_DAY):
            return None, None
        return iso(first), iso(last)
