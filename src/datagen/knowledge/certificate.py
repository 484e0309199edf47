"""The certificate of a query: how many entities could answer it, and what each clue contributes.

    mode, assumptions      closed_world when a declared type or relation that the query uses is taken as complete
    answer_set             keys of sure matches; for an open query with very many, the first 64
    rivals                 possible matches beyond the answer set; UNBOUNDED when open
    sizes[i]               possible matches of the root with its first i+1 clues, each with its subtree
    necessity[i]           possible matches without clue i (subtree included); exactly 1 means the clue is redundant
    minimal_subset         fewest clues that alone leave only the answer possible; a kept clue keeps the edges above it,
                           a kept edge without kept clues below it is a bare typed child. Ties: least depth, then order.
                           Possible sets only grow when clues go, so a clue needed against all others is in every
                           identifying subset; if all are needed, the full set is minimal and nothing has to be tried.
    dependency_depth       depth of the tree of the minimal subset
    min_documents          fewest pages that together state every clue of the path to the answer (IsA clues need none)
    excluded_by            known entities ruled out, each counted once: by their type, else by a complete list among the
                           root's clues, else by stated values; empty for an open query

A query that is not unique has an empty minimal subset, depth 0 and no documents.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from datagen.knowledge.arrays import Ids, is_in
from datagen.knowledge.evaluator import Evaluation
from datagen.knowledge.formula import (
    Clue,
    ClueAddress,
    Edge,
    EntityRef,
    IsA,
    Match,
    Node,
    Query,
    Within,
    depth,
    drop_clue,
    walk_clues,
    walk_nodes,
)
from datagen.knowledge.graph import FactGraph
from datagen.knowledge.literals import digits, iso
from datagen.knowledge.proof import Proof
from datagen.knowledge.variants import Variants
from datagen.records.question import UNBOUNDED, Certificate

ANSWERS_KEPT = 64
ALL_SUBSETS_UP_TO = 8
"""Clues up to which every subset is tried: 256 subsets."""

Addresses = tuple[ClueAddress, ...]


def certify(graph: FactGraph, query: Query) -> Certificate:
    """Prove or refute that a query has one answer. Never guesses: an open query says UNBOUNDED."""
    evaluation = Evaluation(graph, query.root)
    root = query.root
    walked = tuple(walk_clues(root))
    addresses = tuple(address for address, _ in walked)
    clues = tuple(describe(clue) for _, clue in walked)
    assumptions = find_assumptions(graph, root)
    shared: dict[str, Any] = {
        "mode": "closed_world" if assumptions else "open_world",
        "clues": clues,
        "assumptions": assumptions,
        "exposed_constants": exposed_constants(root),
    }
    universe, closing = evaluation.universe_and_clue(root)
    if universe is None:
        return _open_certificate(graph, evaluation, root, len(walked), shared)
    variants = Variants(evaluation, root, universe)
    for clue, mask in zip(root.clues, variants.alone, strict=True):
        evaluation.remember(clue, root.type, universe, mask)
    possible = universe[variants.full]
    sure = universe[variants.sure & variants.full]
    necessity = _necessity(evaluation, root, addresses, variants, closing)
    subset: tuple[int, ...] = ()
    exact = len(walked) <= ALL_SUBSETS_UP_TO
    unique = len(possible) == len(sure) == 1
    if unique:
        subset, exact = minimal_subset(evaluation, root, addresses, necessity)
    proof = Proof(evaluation, query, int(possible[0])) if unique else None
    return Certificate(
        answer_set=tuple(graph.key(i) for i in sure[:ANSWERS_KEPT].tolist()),
        rivals=len(possible) - len(sure),
        sizes=_sizes(evaluation, root, variants, closing),
        necessity=necessity,
        minimal_subset=subset,
        minimal_subset_exact=exact,
        min_documents=proof.min_documents() if proof else 0,
        dependency_depth=depth(keep_clues(root, addresses, subset)) if unique else 0,
        excluded_by=_excluded_by(evaluation, root, possible),
        evidence=proof.evidence() if proof else (),
        exclusion_evidence=proof.exclusion_evidence(universe, variants) if proof else (),
        **shared,
    )


def _open_certificate(
    graph: FactGraph, evaluation: Evaluation, root: Node, clues: int, shared: dict[str, Any]
) -> Certificate:
    """Strangers could match: every size is UNBOUNDED, and stays so without any clue."""
    sure = evaluation.sure(root)
    return Certificate(
        answer_set=tuple(graph.key(i) for i in sure[:ANSWERS_KEPT].tolist()),
        rivals=UNBOUNDED,
        sizes=(UNBOUNDED,) * len(root.clues),
        necessity=(UNBOUNDED,) * clues,
        minimal_subset=(),
        minimal_subset_exact=clues <= ALL_SUBSETS_UP_TO,
        min_documents=0,
        dependency_depth=0,
        **shared,
    )


def _size(ids: Ids | None) -> int:
    return UNBOUNDED if ids is None else len(ids)


def _sizes(evaluation: Evaluation, root: Node, variants: Variants, closing: int | None) -> tuple[int, ...]:
    sizes = []
    for i in range(len(root.clues)):
        if closing is None or closing <= i:
            sizes.append(int(np.count_nonzero(variants.prefixes[i + 1])))
        else:
            sizes.append(_size(evaluation.closed(replace(root, clues=root.clues[: i + 1]))))
    return tuple(sizes)


def _necessity(
    evaluation: Evaluation, root: Node, addresses: Addresses, variants: Variants, closing: int | None
) -> tuple[int, ...]:
    """The walk over the closing clue's set counts every drop that leaves this clue whole; the others are evaluated."""
    counts = []
    for address, mask in zip(addresses, variants.drops, strict=True):
        if address[0] == closing:
            counts.append(_size(evaluation.closed(drop_clue(root, address))))
        else:
            counts.append(int(np.count_nonzero(mask)))
    return tuple(counts)


def keep_clues(root: Node, addresses: Addresses, kept: tuple[int, ...]) -> Node:
    """The tree with only the clues of these numbers; an edge that goes takes its subtree along."""
    wanted = {addresses[i] for i in kept}
    return _keep(root, (), wanted)


def _keep(node: Node, prefix: ClueAddress, wanted: set[ClueAddress]) -> Node:
    clues = []
    for i, clue in enumerate(node.clues):
        address = (*prefix, i)
        if address in wanted:
            clues.append(replace(clue, child=_keep(clue.child, address, wanted)) if isinstance(clue, Edge) else clue)
    return replace(node, clues=tuple(clues))


def minimal_subset(
    evaluation: Evaluation, root: Node, addresses: Addresses, necessity: tuple[int, ...]
) -> tuple[tuple[int, ...], bool]:
    """Numbers of a smallest identifying set of clues, and whether that is proven; for a unique query."""
    every = tuple(range(len(addresses)))
    needed = tuple(i for i in every if necessity[i] != 1)
    if len(needed) == len(every):
        return every, True
    if len(every) > ALL_SUBSETS_UP_TO:
        return _greedy_subset(evaluation, root, addresses, needed), False
    number = {address: i for i, address in enumerate(addresses)}
    above = [{number[a[:n]] for n in range(1, len(a))} for a in addresses]
    spare = [i for i in every if i not in needed]
    for extra in range(len(spare) + 1):
        found = []
        for chosen in combinations(spare, extra):
            kept = tuple(sorted((*needed, *chosen)))
            if all(above[i] <= set(kept) for i in kept):
                tree = keep_clues(root, addresses, kept)
                found.append((depth(tree), kept, tree))
        for _, kept, tree in sorted(found, key=lambda row: row[:2]):
            if _size(evaluation.closed(tree)) == 1:
                return kept, True
    return every, True


def _greedy_subset(
    evaluation: Evaluation, root: Node, addresses: Addresses, needed: tuple[int, ...]
) -> tuple[int, ...]:
    """Leave out clues from the last to the first while the rest still identifies: an upper bound."""
    kept = set(range(len(addresses)))
    for i in reversed(range(len(addresses))):
        below = {j for j in kept if addresses[j][: len(addresses[i])] == addresses[i]}
        if i in needed or below & set(needed):
            continue
        left = tuple(sorted(kept - below))
        if _size(evaluation.closed(keep_clues(root, addresses, left))) == 1:
            kept -= below
    return tuple(sorted(kept))


def _excluded_by(evaluation: Evaluation, root: Node, possible: Ids) -> dict[str, int]:
    graph = evaluation.graph
    typed = len(graph) if root.type is None else len(graph.maybe_members(root.type))
    listed: Ids | None = None
    for clue in root.clues:
        universe = evaluation.listed(clue, root.type)
        if universe is not None:
            listed = universe if listed is None else listed[is_in(listed, universe)]
    among = typed if listed is None else int(np.count_nonzero(graph.may_be(listed, root.type)))
    return {"type": len(graph) - typed, "complete_list": typed - among, "stated_value": among - len(possible)}


def find_assumptions(graph: FactGraph, root: Node) -> tuple[str, ...]:
    """Declarations, not readings, that the evaluation of this tree could use."""
    if not (graph.closed_types or graph.silent_relations):
        return ()
    types = {node.type for _, node in walk_nodes(root)} | {c.type for _, c in walk_clues(root) if isinstance(c, IsA)}
    relations = {c.relation for _, c in walk_clues(root) if not isinstance(c, IsA)}
    complete = {t for name in types if name is not None for t in graph.type_assumptions(name)}
    silent = relations & set(graph.silent_relations)
    return (
        *(f"every {t} is known" for t in sorted(complete)),
        *(f"silence about {r} means no" for r in sorted(silent)),
    )


def exposed_constants(root: Node) -> tuple[str, ...]:
    """Names and values that the clues state, in walk order without repetition."""
    found = []
    for _, clue in walk_clues(root):
        if isinstance(clue, Match):
            found.append(clue.value.name if isinstance(clue.value, EntityRef) else clue.value.text)
        elif isinstance(clue, Within):
            found.append(_interval(clue))
    return tuple(dict.fromkeys(found))


def describe(clue: Clue) -> str:
    """One short line for readers: `founded in 1900-01-01..1909-12-31`, `plays_at -> stadium`, `is a novel`."""
    if isinstance(clue, IsA):
        return f"is a {clue.type}"
    when = f" on {clue.as_of}" if clue.as_of else ""
    if isinstance(clue, Within):
        return f"{clue.relation} in {_interval(clue)}{when}"
    relation = f"inverse {clue.relation}" if clue.inverse else clue.relation
    if isinstance(clue, Edge):
        return f"{relation} -> {clue.child.type or 'anything'}{when}"
    value = clue.value.name if isinstance(clue.value, EntityRef) else clue.value.text
    return f"{relation} = {value}{when}"


def _interval(clue: Within) -> str:
    if clue.kind == "date":
        return f"{iso(clue.low)}..{iso(clue.high)}"
    return f"{digits(clue.low)}..{digits(clue.high)}{' ' if clue.unit else ''}{clue.unit}"


def explain(graph: FactGraph, query: Query) -> str:
    """The certificate in sentences, for debugging."""
    certificate = certify(graph, query)
    lines = [f"mode {certificate.mode}; answers {list(certificate.answer_set)}; rivals {certificate.rivals}"]
    for i, clue in enumerate(certificate.clues):
        lines.append(f"  [{i}] {clue}: without it {_count(certificate.necessity[i])} could match")
    lines.append(f"  sizes along the root: {', '.join(_count(s) for s in certificate.sizes)}")
    lines.append(
        f"  smallest identifying set {list(certificate.minimal_subset)}, excluded by {certificate.excluded_by}"
    )
    return "\n".join(lines)


def _count(size: int) -> str:
    return "any number" if size == UNBOUNDED else str(size)
