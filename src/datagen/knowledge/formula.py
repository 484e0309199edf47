"""The meaning of a question: a tree of constraints over the fact graph.

After InfoSeek's hierarchical constraint satisfaction (arXiv 2509.00375, Eq. 3) with a projection on every edge, which
the equation leaves out (spec infoseek_webexplorer §1.1):

    H(x) = type(x)  ∩  ⋂ S(c_i)  ∩  ⋂ { u : some w in H(y_j) with r_j(u, w) }

    Query                    "In which year was the club founded whose ground lies in a port town, and that ...?"
    └── root: Node(football_club)
        ├── Match(colours, "green and white")              attribute: the object is a named constant
        ├── Within(capacity, 4_000..6_000)                  range: the object is a literal inside an interval
        └── Edge(plays_at) -> Node(stadium)                 relation, projected from the child's set
                              └── Match(located_in, Veltrin)

`inverse=True` swaps the ends: the sought entity is the *object* of the relation, the constant or child its subject.
Nodes and clues are immutable and hashable; equality of formulas is `==` after `canonical` (clue order is not meaning).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from datagen.records.fact import Literal
from datagen.records.ids import canonical_json


@dataclass(frozen=True, slots=True)
class EntityRef:
    """A constant that a question names: the key and the surface form."""

    key: str
    name: str


Constant: TypeAlias = EntityRef | Literal


@dataclass(frozen=True, slots=True)
class Match:
    """relation(x, value); with `inverse` relation(value, x), where value must be an `EntityRef`."""

    relation: str
    value: Constant
    inverse: bool = False
    as_of: str | None = None


@dataclass(frozen=True, slots=True)
class Within:
    """relation(x, v) for a literal v with low <= v <= high (ordinal days for dates, `unit` for numbers)."""

    relation: str
    kind: str
    low: float
    high: float
    unit: str = ""
    as_of: str | None = None


@dataclass(frozen=True, slots=True)
class IsA:
    """x is of this type; used where the clue names a narrower class than the node's own."""

    type: str


@dataclass(frozen=True, slots=True)
class Edge:
    """relation(x, y) for some y in H(child); with `inverse` relation(y, x)."""

    relation: str
    child: Node
    inverse: bool = False
    as_of: str | None = None


Clue: TypeAlias = Match | Within | IsA | Edge


@dataclass(frozen=True, slots=True)
class Node:
    """A vertex: an entity described by its type and clues, never by name."""

    type: str | None
    clues: tuple[Clue, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """A question's meaning. With `ask` None the answer is the root's name, else the root's value of that relation."""

    root: Node
    ask: str | None = None
    ask_as_of: str | None = None


ClueAddress: TypeAlias = tuple[int, ...]
"""Position of a clue: indices of clues from the root down; (1, 0) is the first clue of the child under clue 1."""


def walk_clues(node: Node, prefix: ClueAddress = ()) -> Iterator[tuple[ClueAddress, Clue]]:
    """Every clue in the tree with its address, parents before children, in clue order."""
    for index, clue in enumerate(node.clues):
        address = (*prefix, index)
        yield address, clue
        if isinstance(clue, Edge):
            yield from walk_clues(clue.child, address)


def walk_nodes(node: Node, prefix: ClueAddress = ()) -> Iterator[tuple[ClueAddress, Node]]:
    """Every entity vertex, root first; the address is that of the edge that leads to it."""
    yield prefix, node
    for index, clue in enumerate(node.clues):
        if isinstance(clue, Edge):
            yield from walk_nodes(clue.child, (*prefix, index))


def drop_clue(node: Node, address: ClueAddress) -> Node:
    """The tree without one clue. A child left with no clue stays as a bare typed vertex (its edge still constrains)."""
    head, *rest = address
    if not rest:
        return replace(node, clues=node.clues[:head] + node.clues[head + 1 :])
    return replace_clue(node, (head,), _dropped(node.clues[head], tuple(rest)))


def _dropped(clue: Clue, rest: ClueAddress) -> Clue:
    if not isinstance(clue, Edge):
        raise ValueError(f"clue address continues with {rest} below a leaf: {clue}")
    return replace(clue, child=drop_clue(clue.child, rest))


def replace_clue(node: Node, address: ClueAddress, new: Clue) -> Node:
    """The tree with the clue at `address` exchanged for `new`."""
    head, *rest = address
    old = node.clues[head]
    if rest:
        if not isinstance(old, Edge):
            raise ValueError(f"clue address continues with {rest} below a leaf: {old}")
        new = replace(old, child=replace_clue(old.child, tuple(rest), new))
    return replace(node, clues=(*node.clues[:head], new, *node.clues[head + 1 :]))


def add_clue(node: Node, at: ClueAddress, new: Clue) -> Node:
    """The tree with `new` appended to the vertex that `at` (an edge address, `()` for the root) leads to."""
    if not at:
        return replace(node, clues=(*node.clues, new))
    head, *rest = at
    old = node.clues[head]
    if not isinstance(old, Edge):
        raise ValueError(f"no vertex at {at}: {old}")
    return replace_clue(node, (head,), replace(old, child=add_clue(old.child, tuple(rest), new)))


def count_vertices(node: Node) -> int:
    """All tree vertices in InfoSeek's sense: entity vertices plus one attribute or constant vertex per leaf clue."""
    return 1 + sum(count_vertices(c.child) if isinstance(c, Edge) else 1 for c in node.clues)


def depth(node: Node) -> int:
    """Edges on the longest root-leaf path; a flat node with clues has depth 1."""
    return max((1 + depth(c.child) if isinstance(c, Edge) else 1 for c in node.clues), default=0)


def clue_to_dict(clue: Clue) -> dict[str, Any]:
    """JSON form with a `kind` field; `clue_from_dict` is its inverse."""
    if isinstance(clue, Edge):
        return {
            "kind": "edge",
            "relation": clue.relation,
            "inverse": clue.inverse,
            "as_of": clue.as_of,
            "child": node_to_dict(clue.child),
        }
    if isinstance(clue, IsA):
        return {"kind": "is_a", "type": clue.type}
    if isinstance(clue, Within):
        return {
            "kind": "within",
            "relation": clue.relation,
            "value_kind": clue.kind,
            "low": clue.low,
            "high": clue.high,
            "unit": clue.unit,
            "as_of": clue.as_of,
        }
    return {
        "kind": "match",
        "relation": clue.relation,
        "inverse": clue.inverse,
        "as_of": clue.as_of,
        "value": _constant_to_dict(clue.value),
    }


def _constant_to_dict(value: Constant) -> dict[str, Any]:
    if isinstance(value, EntityRef):
        return {"entity": value.key, "name": value.name}
    return {"literal": value.kind, "text": value.text, "low": value.low, "high": value.high, "unit": value.unit}


def node_to_dict(node: Node) -> dict[str, Any]:
    return {"type": node.type, "clues": [clue_to_dict(c) for c in node.clues]}


def query_to_dict(query: Query) -> dict[str, Any]:
    return {"root": node_to_dict(query.root), "ask": query.ask, "ask_as_of": query.ask_as_of}


def clue_from_dict(raw: dict[str, Any]) -> Clue:
    kind = raw["kind"]
    if kind == "edge":
        return Edge(raw["relation"], node_from_dict(raw["child"]), raw["inverse"], raw["as_of"])
    if kind == "is_a":
        return IsA(raw["type"])
    if kind == "within":
        return Within(raw["relation"], raw["value_kind"], raw["low"], raw["high"], raw["unit"], raw["as_of"])
    value = raw["value"]
    constant: Constant = (
        EntityRef(value["entity"], value["name"])
        if "entity" in value
        else Literal(value["literal"], value["text"], value["low"], value["high"], value["unit"])
    )
    return Match(raw["relation"], constant, raw["inverse"], raw["as_of"])


def node_from_dict(raw: dict[str, Any]) -> Node:
    return Node(raw["type"], tuple(clue_from_dict(c) for c in raw["clues"]))


def query_from_dict(raw: dict[str, Any]) -> Query:
    return Query(node_from_dict(raw["root"]), raw["ask"], raw["ask_as_of"])


def canonical(node: Node) -> Node:
    """The same meaning with clues in one fixed order, so that `==` compares meanings."""
    clues = [replace(c, child=canonical(c.child)) if isinstance(c, Edge) else c for c in node.clues]
    return replace(node, clues=tuple(sorted(clues, key=lambda c: canonical_json(clue_to_dict(c)))))


def canonical_query(query: Query) -> Query:
    return replace(query, root=canonical(query.root))
