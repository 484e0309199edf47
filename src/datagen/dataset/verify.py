"""Check a release from outside: files, splits, ids, evidence hashes, answers, and every certificate.

Nothing that made the questions is trusted here. Certificates are recomputed by `knowledge.bruteforce` from the
snapshot's rows alone, quotes are cut again from the snapshot's pages, ids are hashed again. A row without a certificate
has to show a quote on a page for every hop, and that rivals were searched for. A fault is a sentence that names its row;
`datagen verify` prints the first ones and exits with 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datagen.dataset.release import BATCH_ROWS, RELEASE_KIND, RELEASE_VERSION, answer_root, split_of
from datagen.dataset.verify_attempts import AttemptVerification, Fault
from datagen.errors import PageNotFoundError, ReleaseError, StorageError
from datagen.knowledge.bruteforce import verify_certificate
from datagen.knowledge.formula import Query, query_from_dict
from datagen.knowledge.literals import parse_literal
from datagen.knowledge.plain_world import PlainWorld, day_of, plain_text
from datagen.records.ids import content_id, sha256_hex
from datagen.records.page import Page
from datagen.records.question import Certificate, ClueEvidence
from datagen.records.schema import arrow_schema
from datagen.storage import first_damaged_file, join, read_json, read_manifest, read_parquet
from datagen.web.snapshot import Snapshot

ASKS_YEAR = re.compile(r"\b(?:which|what) year\b", re.IGNORECASE)

Row = Mapping[str, Any]
Watch = Callable[[int, int], None]
"""Called with (rows checked, rows in all)."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked, and what did not hold."""

    questions: int
    evidence: int
    faults: tuple[Fault, ...]
    trajectories: int = 0
    calls: int = 0
    """Tool calls of trajectories that were made again."""

    def with_attempts(self, attempts: AttemptVerification) -> Verification:
        """This and what was found of the attempts."""
        return replace(
            self, faults=(*self.faults, *attempts.faults), trajectories=attempts.trajectories, calls=attempts.calls
        )

    def raise_if_faulty(self) -> None:
        if self.faults:
            first = self.faults[0]
            more = f" {len(self.faults) - 1:,} more faults follow; `--json` lists them." if len(self.faults) > 1 else ""
            raise ReleaseError(f"The release does not hold. First bad row: {first.row}: {first.sentence}{more}")


@dataclass(slots=True)
class _Pages:
    """Pages by address; the last ones are kept, since rows that share a page stand apart."""

    snapshot: Snapshot
    kept: dict[str, Page | None] = field(default_factory=dict)

    def find(self, url: str) -> Page | None:
        if url not in self.kept:
            if len(self.kept) >= 4096:
                self.kept.clear()
            try:
                self.kept[url] = self.snapshot.page(url)
            except PageNotFoundError:
                self.kept[url] = None
        return self.kept[url]


def verify_release(folder: Path, snapshot_dir: Path, watch: Watch | None = None) -> Verification:
    """Check everything; raises `ReleaseError` where the two folders cannot belong together."""
    try:
        manifest = read_manifest(folder, kind=RELEASE_KIND, version=RELEASE_VERSION)
    except StorageError as exc:
        raise ReleaseError(f"{exc} Pass the folder that `datagen run` named as its release.") from exc
    snapshot = Snapshot.open(snapshot_dir)
    if manifest.fields.get("snapshot") != snapshot.digest:
        raise ReleaseError(
            f"{folder} was made from the snapshot {manifest.fields.get('snapshot')}, and {snapshot_dir} is "
            f"{snapshot.digest}. Pass the snapshot it was made from with --snapshot."
        )
    faults: list[Fault] = []
    damaged = first_damaged_file(folder, manifest)
    if damaged is not None:
        faults.append(Fault(damaged, "its bytes are not those that the manifest lists."))
    total = sum(entry.rows or 0 for entry in manifest.files if entry.name.startswith("data/qa/"))
    checked = evidence = 0
    seen: set[str] = set()
    checker = RowChecker(_read_world(folder, snapshot), _Pages(snapshot), _names(snapshot))
    for split, row in _rows(folder):
        faults += [Fault(row["id"], sentence) for sentence in _split_faults(split, row, seen)]
        faults += [Fault(row["id"], sentence) for sentence in checker.faults(row)]
        evidence += len(row["evidence"]) + len(row["exclusion_evidence"])
        evidence += 0 if row["certificate"] else len(row["hops"])
        checked += 1
        if watch is not None:
            watch(checked, total)
    return Verification(checked, evidence, tuple(faults))


def _rows(folder: Path) -> Iterator[tuple[str, Row]]:
    """(split, row) in file order, a few hundred rows in memory at a time."""
    for path in sorted((folder / "data" / "qa").glob("*.parquet")):
        table = read_parquet(path)
        if not table.schema.equals(arrow_schema("questions")):
            raise ReleaseError(f"{path} does not have the schema of questions; it was written by another version.")
        for batch in table.to_batches(BATCH_ROWS):
            yield from ((path.name.split("-")[0], row) for row in batch.to_pylist())


def _split_faults(split: str, row: Row, seen: set[str]) -> Iterator[str]:
    wanted = split_of(answer_root(row))
    if split != wanted:
        yield f"it lies in {split}, and its answer's entity belongs to {wanted}."
    if row["id"] in seen:
        yield "the id occurs twice."
    seen.add(row["id"])


def _read_world(folder: Path, snapshot: Snapshot) -> PlainWorld:
    assumed = read_json(join(folder, "provenance.json"))["config"].get("knowledge", {})
    return PlainWorld.read(
        snapshot.catalogue(),
        snapshot.facts(),
        snapshot.closures(),
        snapshot.entities(),
        closed_types=assumed.get("closed_types", ()),
        silent_relations=assumed.get("silent_relations", ()),
    )


def _names(snapshot: Snapshot) -> dict[str, str]:
    return {entity.key: entity.name for entity in snapshot.entities()}


@dataclass(slots=True)
class RowChecker:
    """Checks single rows of `questions` against plain rows and pages."""

    world: PlainWorld
    pages: _Pages
    names: Mapping[str, str]

    def faults(self, row: Row) -> Iterator[str]:
        """Sentences on what does not hold; nothing when everything does."""
        try:
            tree = json.loads(row["tree"])
            query = query_from_dict(tree)
        except (ValueError, KeyError, TypeError) as exc:
            yield f"its tree cannot be read: {exc}."
            return
        if row["id"] != content_id(
            "qa1", {"question": row["question"], "tree": tree, "answer": row["answer_canonical"]}
        ):
            yield "its id is not the hash of its question, tree and answer."
        if row["certificate"] is None:
            yield from self._uncertified_faults(row)
            return
        if row["rivals_tried"] is not None:
            yield "it has a certificate and yet counts searches for rivals."
        yield from (f"certificate: {sentence}" for sentence in self._certificate_faults(row, query))
        yield from self._answer_faults(row, query)
        for kind in ("evidence", "exclusion_evidence"):
            yield from (f"{kind} of clue {e['clue']}: {s}" for e in row[kind] for s in self._evidence_faults(e))

    def _uncertified_faults(self, row: Row) -> Iterator[str]:
        if not row["rivals_tried"] or row["rivals_tried"] < 1:
            yield "it has no certificate, and nobody searched for rivals."
        if row["evidence"] or row["exclusion_evidence"]:
            yield "it has evidence for clues of a certificate that it does not have."
        if not row["hops"]:
            yield "it has neither a certificate nor hops."
        for number, hop in enumerate(row["hops"], start=1):
            page = self.pages.find(hop["url"])
            if page is None:
                yield f"hop {number}: the snapshot has no page {hop['url']}."
            elif not _is_said(hop["quote"], page.text):
                yield f"hop {number}: {hop['url']} does not say {hop['quote']!r}."
            elif hop["published_at"] != page.published_at:
                yield f"hop {number}: {hop['url']} is of {page.published_at}, not of {hop['published_at']}."

    def _certificate_faults(self, row: Row, query: Query) -> list[str]:
        certificate = certificate_of(row)
        if not certificate.unique:
            return ["it does not prove a single answer."]
        return verify_certificate(self.world, query, certificate)

    def _answer_faults(self, row: Row, query: Query) -> Iterator[str]:
        root = row["certificate"]["answer_set"][0] if row["certificate"]["answer_set"] else ""
        if query.ask is None:
            if row["answer_entity"] != root:
                yield f"the answer's entity is {row['answer_entity']}, the proven one {root}."
            elif plain_text(row["answer"]) != plain_text(self.names.get(root, "")):
                yield f"the answer is {row['answer']!r}, the proven entity is called {self.names.get(root)!r}."
            return
        known = self.world.known(root, query.ask, day_of(query.ask_as_of))
        if len(known.sure) != 1 or known.contested:
            yield f"the pages do not settle the {query.ask} of {root}."
        elif not _states(row, known.sure[0]):
            yield f"the answer is {row['answer_canonical']!r}, the pages state {known.sure[0]!r}."

    def _evidence_faults(self, item: Mapping[str, Any]) -> Iterator[str]:
        page = self.pages.find(item["url"])
        if page is None:
            yield f"the snapshot has no page {item['url']}."
        elif page.id != item["page_id"]:
            yield f"{item['url']} is another version of the page ({page.id})."
        elif page.text[item["start"] : item["end"]] != item["quote"]:
            yield f"{item['url']} does not say {item['quote']!r} at {item['start']}."
        elif sha256_hex(item["quote"].encode()) != item["sha256"]:
            yield f"the hash of its quote from {item['url']} is wrong."


def _is_said(quote: str | None, text: str) -> bool:
    """Whether a page says a quote, however its lines are broken; an empty quote says nothing."""
    if not quote or not quote.strip():
        return False
    return quote in text or " ".join(quote.split()) in " ".join(text.split())


def _states(row: Row, value: object) -> bool:
    """Whether a plain value (key, or kind, low, high, unit, text) is what the answer says."""
    if isinstance(value, str):
        return bool(row["answer_entity"] == value)
    assert isinstance(value, tuple)
    kind, low, high, unit, text = value
    if kind == "text":
        return bool(plain_text(row["answer_canonical"]) == text)
    said = parse_literal(row["answer_canonical"], kind, unit)
    if said is None:
        return False
    if kind == "date" and ASKS_YEAR.search(row["question"]):
        return bool(said.low <= low and high <= said.high)  # the pages may know the day of the year that was asked for
    return bool(low <= said.low and said.high <= high)


def certificate_of(row: Row) -> Certificate:
    """The certificate of a `questions` row with its evidence, as the record."""
    raw = row["certificate"]
    lists = ("answer_set", "clues", "sizes", "necessity", "minimal_subset", "exposed_constants", "assumptions")
    return Certificate(
        mode=raw["mode"],
        rivals=raw["rivals"],
        minimal_subset_exact=raw["minimal_subset_exact"],
        min_documents=raw["min_documents"],
        dependency_depth=raw["dependency_depth"],
        excluded_by=dict(raw["excluded_by"]),
        evidence=tuple(ClueEvidence(**e) for e in row["evidence"]),
        exclusion_evidence=tuple(ClueEvidence(**e) for e in row["exclusion_evidence"]),
        **{name: tuple(raw[name]) for name in lists},
    )
