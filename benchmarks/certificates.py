"""Certified trees per second on one core, against the size of the graph.

    python benchmarks/certificates.py --sizes 1000 10000 100000 --trees 2000

The graph is random but shaped like a corpus: ten types, thirty relations, skewed popularity, one fact in twenty-five
contradicted or low-trust, complete lists for leagues, regions, authors and awards. Trees are grown from a known entity
as the recipes grow them: a listed clue, further clues, described children; 3 to 12 vertices. Prints one table row per
size for docs/log.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from datagen.knowledge.catalogue import Catalogue, EntityType, Relation, make_catalogue
from datagen.knowledge.certificate import certify
from datagen.knowledge.evaluator import is_unique
from datagen.knowledge.formula import Clue, Edge, EntityRef, Match, Node, Query, Within, count_vertices
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import date_interval, number_literal, ordinal, text_literal, year_interval
from datagen.records.fact import Closure, Entity, Evidence, Fact, Literal
from datagen.records.ids import rng_for, sha256_hex

SHARES = {
    "person": 0.40, "club": 0.15, "stadium": 0.10, "town": 0.15, "novel": 0.10, "company": 0.06,
    "league": 0.01, "award": 0.01, "region": 0.018, "country": 0.002,
}  # fmt: skip
ROWS = """
person born_in entity town; person born_on date; person plays_for entity club changes; person trade text
person height number; person won entity award multi; person spouse entity person
club plays_in entity league; club ground entity stadium; club founded date; club colours text
club coach entity person changes; stadium located_in entity town; stadium capacity number; stadium opened date
stadium architect entity person; town in_region entity region; town population number; town mayor entity person changes
region in_country entity country; region area number; league of_country entity country; league started date
novel author entity person; novel published date; novel pages number; novel set_in entity town
company seat entity town; company created date; company founder entity person; award first_given date
"""
LISTED = ("plays_in", "in_region", "author", "won")
WORDS = ("green", "white", "red", "blue", "amber", "violet", "black", "silver", "gold", "teal")


def catalogue() -> Catalogue:
    relations = []
    for row in ROWS.replace(";", "\n").split("\n"):
        parts = row.split()
        if parts:
            subject, name, kind, *rest = parts
            objects = (rest[0],) if kind == "entity" else ()
            relations.append(
                Relation(name, name, (subject,), kind, objects, single="multi" not in rest, changes="changes" in rest)  # type: ignore[arg-type]
            )
    return make_catalogue("bench", [EntityType(t, t, t + "s") for t in SHARES], relations)


class Shaped:
    """Facts of a shaped world; attributes are functions of (seed, entity)."""

    def __init__(self, entities: int) -> None:
        self.catalogue = catalogue()
        self.keys = {
            t: [f"https://{t}.example/{i:07d}" for i in range(max(3, int(entities * s)))] for t, s in SHARES.items()
        }
        self.listed: dict[tuple[str, str], list[str]] = defaultdict(list)

    def entities(self) -> Iterator[Entity]:
        for type_id, keys in self.keys.items():
            yield from (Entity(key, f"{type_id.title()} {key[-7:]}", type_id) for key in keys)

    def facts(self) -> Iterator[Fact]:
        by_type = defaultdict(list)
        for relation in self.catalogue.relations.values():
            by_type[relation.subject_types[0]].append(relation)
        for type_id, keys in self.keys.items():
            for key in keys:
                rng = rng_for(1, "facts", key)
                for relation in by_type[type_id]:
                    if rng.random() < 0.9:
                        for _ in range(1 if relation.single else rng.randint(1, 3)):
                            yield self._fact(rng, key, relation, "encyclopedia", "2025-01-01")
                        if rng.random() < 0.04:
                            yield self._fact(rng, key, relation, rng.choice(("news", "forum")), "2025-01-01")

    def _fact(self, rng, key: str, relation: Relation, kind: str, day: str) -> Fact:
        quote = f"{key[-7:]}: {relation.label} stated here"
        page = f"{kind}-{key}"
        evidence = Evidence(page, key, 10, 10 + len(quote), quote, sha256_hex(quote.encode()), kind, day)
        days = ("2024-01-01", day) if relation.changes else (None, None)
        if relation.object_kind == "entity":
            pool = self.keys[relation.object_types[0]]
            other = pool[int(len(pool) * rng.random() ** 2)]
            if relation.id in LISTED and kind == "encyclopedia":
                self.listed[relation.id, other].append(key)
            return Fact(key, relation.id, other[-7:], other, None, evidence, *days)
        return Fact(key, relation.id, "", None, self._literal(rng, relation.object_kind), evidence, *days)

    def _literal(self, rng, kind: str) -> Literal:
        if kind == "date":
            year = rng.randint(1850, 2020)
            return (
                date_interval(*year_interval(year))
                if rng.random() < 0.5
                else date_interval(*[ordinal(f"{year}-03-0{rng.randint(1, 9)}")] * 2)
            )
        if kind == "number":
            return number_literal(float(rng.randint(100, 90_000)))
        return text_literal(f"{rng.choice(WORDS)} and {rng.choice(WORDS)}")

    def closures(self) -> Iterator[Closure]:
        for (relation, anchor), members in self.listed.items():
            if len(members) < 200:
                evidence = Evidence(
                    f"list-{anchor}", anchor + "/list", 0, 4, "list", sha256_hex(b"list"), "list", "2025-01-01"
                )
                yield Closure("subjects", relation, anchor, None, None, tuple(dict.fromkeys(members)), evidence)


class Grower:
    """Trees around known entities."""

    def __init__(self, graph: FactGraph) -> None:
        self.graph = graph

    def grow(self, number: int) -> Query | None:
        rng = rng_for(2, "tree", number)
        root_type = rng.choice(("club", "town", "novel", "person"))
        members = self.graph.members(root_type)
        i = int(members[rng.randrange(len(members))])
        budget = rng.randint(3, 12)
        node = self._node(rng, i, budget, closed=True)
        return None if node is None or count_vertices(node) < 3 else Query(node)

    def _node(self, rng, i: int, budget: int, *, closed: bool) -> Node | None:
        graph, clues = self.graph, []
        stated = list(graph.outgoing(i))
        rng.shuffle(stated)
        if closed:
            listed = [
                s
                for s in stated
                if s.object_id is not None
                and s.relation in LISTED
                and graph.subject_list(s.relation, s.object_id, graph.type(i), None)
            ]
            if not listed:
                return None
            stated.remove(listed[0])
            clues.append(Match(listed[0].relation, listed[0].value))
            budget -= 1
        for s in stated:
            if budget <= 1:
                break
            if s.object_id is not None and budget >= 3 and rng.random() < 0.6:
                share = rng.randint(2, min(4, budget - 1))
                child = self._node(rng, s.object_id, share, closed=False)
                assert child is not None
                clues.append(Edge(s.relation, child, as_of=s.as_of))
                budget -= count_vertices(child)
            else:
                clues.append(self._leaf(rng, s))
                budget -= 1
        rng.shuffle(clues)
        return Node(graph.type(i), tuple(clues))

    def _leaf(self, rng, s) -> Clue:
        if isinstance(s.value, EntityRef) or s.value.kind == "text":
            return Match(s.relation, s.value, as_of=s.as_of)
        width = rng.choice((1_000, 4_000)) if s.value.kind == "date" else rng.choice((2_000, 20_000))
        return Within(s.relation, s.value.kind, s.value.low - width, s.value.high + width, s.value.unit)


def measure(size: int, trees: int, *, profile: bool = False) -> str:
    shaped = Shaped(size)
    started = time.perf_counter()
    facts = list(shaped.facts())
    made = time.perf_counter() - started
    started = time.perf_counter()
    graph = FactGraph.build(shaped.catalogue, facts, shaped.closures(), shaped.entities())
    built = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        graph.save(Path(folder))
        started = time.perf_counter()
        graph = FactGraph.load(Path(folder))
        loaded = time.perf_counter() - started
        grower = Grower(graph)
        queries = [q for n in range(trees * 3) if (q := grower.grow(n)) is not None][:trees]
        if profile:
            import cProfile

            with cProfile.Profile() as profiler:
                for query in queries:
                    certify(graph, query)
            profiler.print_stats("tottime")
        started = time.process_time()
        certificates = [certify(graph, query) for query in queries]
        seconds = time.process_time() - started
        started = time.process_time()
        for query in queries:
            is_unique(graph, query)
        quick = time.process_time() - started
    vertices = statistics.mean(count_vertices(q.root) for q in queries)
    unique = sum(c.unique for c in certificates) / len(certificates)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"| {dt.date.today()} | {size:,} | {len(facts):,} | {built:.1f} | {loaded:.2f} | {len(queries)} | {vertices:.1f} | {unique:.0%} "
        f"| {len(queries) / seconds:,.0f} | {len(queries) / quick:,.0f} | {memory:,.0f} | (facts made in {made:.1f} s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--trees", type=int, default=2_000)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    print(
        "| date | entities | facts | build s | load s | trees | vertices | unique | certify/s | is_unique/s | peak MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for size in arguments.sizes:
        print(measure(size, arguments.trees, profile=arguments.profile), flush=True)


if __name__ == "__main__":
    main()
