"""The reader against a world whose truth is known: what trusted pages are read to say is so, and little is missed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from datagen.knowledge.entities import EntityResolver
from datagen.knowledge.reading import Reader, Reading
from datagen.knowledge.truth import TrueFact
from datagen.records.fact import Fact
from datagen.records.page import LOW_TRUST_KINDS, Page
from datagen.web.extraction import extract
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.source import SyntheticSource
from datagen.web.synthetic.truth import entity_types, truth_facts

PAGES = 900


class Corpus:
    def __init__(self) -> None:
        self.web = SyntheticSource(11, PAGES).web
        catalogue = self.web.world.ontology.catalogue
        reader = Reader(catalogue)
        self.catalogue = catalogue
        self.resolver = EntityResolver(catalogue)
        self.read: list[tuple[Page, Reading]] = []
        for raw in SyntheticSource(11, PAGES):
            page = extract(raw, "fast")
            assert isinstance(page, Page)
            self.read.append((page, reader.read(page)))
            self.resolver.add(self.read[-1][1])
        self.truth: dict[tuple[str, str], list[TrueFact]] = {}
        for fact in truth_facts(self.web.addresses):
            self.truth.setdefault((fact.subject, fact.relation), []).append(fact)
        self.types = dict(entity_types(self.web.addresses))

    def trusted_facts(self) -> Iterator[Fact]:
        for page, reading in self.read:
            if page.source_kind not in LOW_TRUST_KINDS:
                for fact in reading.facts:
                    linked = self.resolver.fact(fact)
                    assert linked is not None
                    yield linked

    def holds(self, fact: Fact) -> bool:
        for true in self.truth.get((fact.subject, fact.relation), []):
            if fact.literal is None:
                same = true.object_key == fact.object_key
            elif true.literal is None or true.literal.kind != fact.literal.kind:
                same = False
            elif fact.literal.kind == "text":
                same = true.literal.text.casefold() == fact.literal.text.casefold()
            else:
                inside = fact.literal.low <= true.literal.low and true.literal.high <= fact.literal.high
                same = inside and fact.literal.unit == true.literal.unit
            if same and (fact.as_of is None or (true.holds_on(fact.valid_from) and true.holds_on(fact.as_of))):
                return True
        return False


@lru_cache(maxsize=1)
def corpus() -> Corpus:
    return Corpus()


def test_every_fact_of_a_trusted_page_is_true_on_its_days() -> None:
    facts = list(corpus().trusted_facts())

    assert len(facts) > 2_000
    assert [f for f in facts if not corpus().holds(f)] == []


def test_hardly_anything_that_articles_state_is_missed() -> None:
    web = corpus().web
    readings = {page.url: reading for page, reading in corpus().read}
    stated, found = 0, 0
    for ref in web.world.entities():
        reading = readings.get(web.addresses.article(ref)) if web.addresses.has_article(ref) else None
        if reading is None:
            continue
        linked = (corpus().resolver.fact(fact) for fact in reading.facts)
        read = {(f.relation, f.object_key) for f in linked if f is not None}
        for statement, _ in web.desk.statements.about(ref, "article", web.desk.edited(ref, "article")):
            for key in [web.addresses.key(o) for o in statement.objects] or [None]:
                stated += 1
                found += (statement.relation.id, key) in read

    assert stated > 1_000
    assert found / stated >= 0.97


def test_every_list_that_is_read_as_complete_is_complete() -> None:
    closures = 0
    for _, reading in corpus().read:
        for closure in reading.closures:
            linked = corpus().resolver.closure(closure)
            assert linked is not None
            closures += 1
            if linked.side == "members":
                true = {k for k, t in corpus().types.items() if t == linked.entity_type}
            elif linked.side == "objects":
                true = {f.object_key for f in corpus().truth[linked.anchor_key or "", linked.relation]}
            else:
                true = {
                    f.subject
                    for (_, relation), facts in corpus().truth.items()
                    for f in facts
                    if relation == linked.relation and f.object_key == linked.anchor_key and f.holds_on(linked.as_of)
                    if corpus().catalogue.is_a(corpus().types[f.subject], linked.entity_type or "")
                }
            assert set(linked.members) == true, linked.evidence

    assert closures > 50


def test_entities_of_one_name_are_kept_apart_and_all_have_their_type() -> None:
    web = corpus().web
    for fact in corpus().trusted_facts():
        assert fact.subject in corpus().types
    entities = {e.key: e for e in corpus().resolver.entities()}
    assert all(corpus().types[key] == entity.type for key, entity in entities.items())
    pairs = [web.world.pair(t, n) for t in web.world.ontology.kinds for n in range(web.world.pairs(t))]
    assert pairs
    for first, second in pairs:
        keys = [web.addresses.key(Ref(*ref)) for ref in (first, second)]
        assert keys[0] != keys[1]
        assert all(entities[key].name == web.world.name(first) for key in keys if key in entities)
