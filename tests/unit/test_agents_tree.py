"""InfoSeek growth over a small league world: four actions, trees that mean what they should, the same trees each time."""

from __future__ import annotations

import pytest

from datagen.agents.roles import GrowthTarget, NoGrowth, ResearchTree, TreeAction
from datagen.agents.symbolic.planner import SymbolicPlanner, levels
from datagen.agents.symbolic.sourcing import has_one_source
from datagen.agents.symbolic.tree import SymbolicBrowser
from datagen.knowledge.catalogue import Catalogue, EntityType, Relation, make_catalogue
from datagen.knowledge.formula import Edge, EntityRef, Match, Node, Query, count_vertices, drop_clue, walk_clues
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import number_literal, parse_date
from datagen.knowledge.truth import TrueFact, Truth
from datagen.records.fact import Closure, Entity, Evidence, Fact, Literal
from datagen.records.ids import rng_for

CLOSED = ("plays_in", "lies_in", "designed_by", "born_in")
"""Relations with complete lists: such a clue is needed because the web is open, not because of the world."""
LEAGUES, CLUBS, TOWNS = 6, 60, 8
SITE = "https://atlas.example"


def catalogue() -> Catalogue:
    types = [EntityType(t, t, f"{t}s") for t in ("club", "stadium", "league", "town", "architect")]
    relations = [
        Relation("plays_in", "League", ("club",), "entity", ("league",), clue=("that play in {o}",)),
        Relation(
            "plays_at", "Ground", ("club",), "entity", ("stadium",), clue=("whose ground is {o}",),
            inverse=("that is the ground of {s}",),
        ),
        Relation("lies_in", "Town", ("stadium",), "entity", ("town",), clue=("that lies in {o}",)),
        Relation("designed_by", "Architect", ("stadium",), "entity", ("architect",), clue=("designed by {o}",)),
        Relation("born_in", "Born in", ("architect",), "entity", ("town",), clue=("born in {o}",)),
        Relation("born", "Born", ("architect",), "date", clue=("born in {o}",)),
        Relation("founded", "Founded", ("club",), "date", clue=("founded in {o}",), ask=("When was {s} founded?",)),
        Relation("members", "Members", ("club",), "number", clue=("with {o} members",)),
        Relation("opened", "Opened", ("stadium",), "date", clue=("opened in {o}",)),
        Relation("capacity", "Capacity", ("stadium",), "number", clue=("with {o} seats",)),
    ]  # fmt: skip
    return make_catalogue("leagues", types, relations)


def evidence(url: str) -> Evidence:
    """Every entity has a page of its own, and so has every list."""
    return Evidence(f"pg-{url}", url, 0, 1, "x", "0" * 64, "encyclopedia", "2025-01-01")


def key(kind: str, i: int) -> str:
    return f"{SITE}/{kind}s/{i}"


def year(text: int) -> Literal:
    parsed = parse_date(str(text))
    assert parsed is not None
    return parsed


def rows() -> tuple[list[Entity], list[tuple[str, str, str | Literal]]]:
    """Clubs with leagues and grounds, grounds with towns and architects, architects with birthplaces."""
    rng = rng_for(5, "world")
    counts = {"league": LEAGUES, "club": CLUBS, "stadium": CLUBS, "town": TOWNS, "architect": 16}
    entities = [Entity(key(kind, i), f"{kind.title()} {i}", kind) for kind, n in counts.items() for i in range(n)]
    facts: list[tuple[str, str, str | Literal]] = []
    for i in range(CLUBS):
        facts += [
            (key("club", i), "plays_in", key("league", i % LEAGUES)),
            (key("club", i), "plays_at", key("stadium", i)),
            (key("club", i), "founded", year(rng.randint(1880, 1990))),
            (key("club", i), "members", number_literal(float(rng.randint(200, 9000)))),
            (key("stadium", i), "lies_in", key("town", rng.randrange(TOWNS))),
            (key("stadium", i), "designed_by", key("architect", rng.randrange(16))),
            (key("stadium", i), "opened", year(rng.randint(1900, 2010))),
            (key("stadium", i), "capacity", number_literal(float(rng.randint(1000, 60000)))),
        ]
    for i in range(16):
        facts += [
            (key("architect", i), "born_in", key("town", i % TOWNS)),
            (key("architect", i), "born", year(1850 + 7 * i)),
        ]
    return entities, facts


def league_graph() -> FactGraph:
    entities, table = rows()
    names = {e.key: e.name for e in entities}
    facts = [
        Fact(s, r, names[o], o, None, evidence(s)) if isinstance(o, str) else Fact(s, r, o.text, None, o, evidence(s))
        for s, r, o in table
    ]
    closures = []
    for relation, kind in (
        ("plays_in", "club"),
        ("lies_in", "stadium"),
        ("designed_by", "stadium"),
        ("born_in", "architect"),
    ):
        for anchor in sorted({o for _, r, o in table if r == relation and isinstance(o, str)}):
            members = tuple(s for s, r, o in table if r == relation and o == anchor)
            closures.append(
                Closure(
                    "subjects", relation, anchor, None, kind, members, evidence(f"{SITE}/lists/{relation}/{anchor}")
                )
            )
    return FactGraph.build(catalogue(), facts, closures, entities)


def league_truth() -> Truth:
    entities, table = rows()
    truth = Truth(catalogue(), {e.key: e.type or "" for e in entities})
    truth.add(TrueFact(s, r, o, None) if isinstance(o, str) else TrueFact(s, r, None, o) for s, r, o in table)
    return truth


GRAPH = league_graph()
TRUTH = league_truth()
PLANNER = SymbolicPlanner(GRAPH.catalogue)
BROWSER = SymbolicBrowser(GRAPH)


def grow(i: int, target: GrowthTarget) -> tuple[ResearchTree | None, str, list[str]]:
    """The recipe's loop: the tree, why growth ended, and the kinds of action taken."""
    rng = rng_for(3, "grow", i)
    tree: ResearchTree | None = None
    last: NoGrowth | None = None
    taken: list[str] = []
    for _ in range(40):
        action = PLANNER.plan(tree, target, last, rng)
        taken.append(action.kind)
        if action.kind == "terminate":
            return tree, action.reason, taken
        outcome = BROWSER.act(action, tree, target, rng)
        if isinstance(outcome, NoGrowth):
            last = outcome
        else:
            tree, last = outcome, None
    return tree, "steps", taken


def finished(target: GrowthTarget, count: int = 60) -> list[ResearchTree]:
    grown = [grow(i, target) for i in range(count)]
    return [tree for tree, reason, _ in grown if tree is not None and not reason.startswith("stuck")]


@pytest.mark.parametrize(("deep", "vertices"), [(2, 4), (3, 6), (4, 9)])
def test_grown_trees_have_one_answer_in_the_world_and_need_their_clues(deep: int, vertices: int) -> None:
    trees = finished(GrowthTarget(deep, vertices))
    assert len(trees) >= 20
    for tree in trees:
        root = tree.query.root
        assert TRUTH.evaluate(root) == {dict(tree.vertices)[()]}
        assert levels(root) <= deep


def test_no_clue_names_an_entity_behind_a_vertex() -> None:
    for tree in finished(GrowthTarget(3, 7)):
        hidden = {k for _, k in tree.vertices}
        named = {
            c.value.key
            for _, c in walk_clues(tree.query.root)
            if isinstance(c, Match) and isinstance(c.value, EntityRef)
        }
        assert not hidden & named


def test_within_one_context_no_clue_is_idle() -> None:
    """A first edge may open a context of its own; trees without one are all needed, clue by clue."""
    for tree in finished(GrowthTarget(3, 6)):
        root = tree.query.root
        first = root.clues[0]
        if isinstance(first, Edge) and (first.inverse or first.relation in CLOSED):
            continue
        for address, clue in walk_clues(root):
            rest = drop_clue(root, address)
            assert len(TRUTH.evaluate(rest)) > 1 or getattr(clue, "relation", "") in CLOSED


def test_growth_is_the_same_for_the_same_draw() -> None:
    target = GrowthTarget(3, 6)
    assert [grow(i, target) for i in range(10)] == [grow(i, target) for i in range(10)]


def test_larger_targets_give_larger_trees() -> None:
    sizes = [
        sum(count_vertices(t.query.root) for t in trees) / len(trees)
        for trees in (finished(GrowthTarget(2, 3)), finished(GrowthTarget(4, 10)))
    ]
    assert sizes[0] < sizes[1]


def test_a_tree_that_asks_for_a_literal_never_states_it() -> None:
    for tree in finished(GrowthTarget(2, 4, ask_literal=True)):
        assert tree.query.ask == "founded"
        assert all(getattr(c, "relation", "") != "founded" for c in tree.query.root.clues)


def test_the_planner_starts_deepens_describes_and_stops() -> None:
    _, _, taken = grow(1, GrowthTarget(3, 6))
    assert taken[0] == "initialise"
    assert "blur" in taken
    assert taken[-1] == "terminate"
    assert taken.index("extend") < taken.index("blur")


def test_a_vertex_below_an_undescribed_one_cannot_be_described_first() -> None:
    club = ResearchTree(
        Query(Node("club", (Edge("plays_at", Node("stadium", ())),))), (((), key("club", 0)), ((0,), key("stadium", 0)))
    )
    outcome = BROWSER.act(TreeAction("blur", (0,), 1), club, GrowthTarget(2, 4), rng_for(0, "x"))
    assert isinstance(outcome, NoGrowth)
    assert outcome.reason == "no_pool"


def test_no_tree_is_stated_by_one_page() -> None:
    for tree in finished(GrowthTarget(2, 4)):
        assert not has_one_source(GRAPH, tree)


def test_a_tree_that_one_page_states_is_seen_as_such() -> None:
    club = key("club", 0)
    clues = (Match("plays_in", EntityRef(key("league", 0), "League 0")), Match("founded", year(1900)))
    assert has_one_source(GRAPH, ResearchTree(Query(Node("club", clues)), (((), club),)))
