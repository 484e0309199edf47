"""The complete ground truth of a world: what is so, whether or not a page says it.

Keys are those that pages use, so what a certificate claims can be looked up here. Nothing below reads a page.
"""

from __future__ import annotations

from collections.abc import Iterator

from datagen.knowledge.truth import TrueFact, Truth
from datagen.web.synthetic.addresses import Addresses
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.phrasing import iso_day


def truth_facts(addresses: Addresses) -> Iterator[TrueFact]:
    """Every fact of every entity, type by type."""
    world = addresses.world
    catalogue = world.ontology.catalogue
    by_type = {t: [r for r in catalogue.relations.values() if catalogue.applies(r, t)] for t in world.ontology.kinds}
    for ref in world.entities():
        key = addresses.key(ref)
        for relation in by_type[ref.type]:
            if relation.object_kind != "entity":
                literal = world.value(ref, relation.id)
                if literal is not None:
                    yield TrueFact(key, relation.id, literal=literal)
            elif relation.changes:
                yield from _tenures(addresses, ref, key, relation.id)
            else:
                for target in world.objects(ref, relation.id):
                    yield TrueFact(key, relation.id, object_key=addresses.key(target))


def _tenures(addresses: Addresses, ref: Ref, key: str, relation: str) -> Iterator[TrueFact]:
    for term in addresses.world.terms(ref, relation):
        end = iso_day(term.end) if term.end is not None else None
        yield TrueFact(key, relation, object_key=addresses.key(term.target), valid_from=iso_day(term.start), as_of=end)


def entity_types(addresses: Addresses) -> Iterator[tuple[str, str]]:
    """(key, type) of every entity."""
    for ref in addresses.world.entities():
        yield addresses.key(ref), ref.type


def build_truth(addresses: Addresses) -> Truth:
    """Truth as a judge of formulas: `build_truth(web.addresses).answers(query)`."""
    truth = Truth(addresses.world.ontology.catalogue, dict(entity_types(addresses)))
    truth.add(truth_facts(addresses))
    return truth
