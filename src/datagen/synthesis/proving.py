"""What both recipes do once a tree stands: prove it and prune it.

    query ── prove ──► unique? ── prune ──► every clue needed

A recipe may grow more clues than the proof needs. A clue that can go without letting a second entity in is pruned,
because an idle clue makes a question longer and no harder.
"""

from __future__ import annotations

from dataclasses import dataclass

from datagen.knowledge.certificate import certify
from datagen.knowledge.formula import ClueAddress, Edge, Node, Query, drop_clue, walk_clues
from datagen.records.question import UNBOUNDED, Certificate
from datagen.synthesis.settings import Workbench

MAX_PRUNED = 16


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a recipe ends a candidate: stage, short code, sentence."""

    stage: str
    reason: str
    detail: str
    query: Query | None = None


@dataclass(frozen=True, slots=True)
class Proven:
    """A query with its proof; the answer set of the proof is exactly the root's key."""

    query: Query
    proof: Certificate
    key: str


def prove(bench: Workbench, query: Query, key: str | None = None) -> Proven | Stop:
    """Certify the query, for this root where it is known."""
    proof = certify(bench.graph, query)
    if not proof.answer_set or (key is not None and key not in proof.answer_set):
        return Stop("prove", "answer_not_proven", f"{key or 'no entity'} does not surely match all clues", query)
    if not proof.unique:
        rivals = "an open class" if proof.rivals == UNBOUNDED else f"{len(proof.answer_set) - 1 + proof.rivals} more"
        return Stop("prove", "not_unique", f"{rivals} could match as well", query)
    return Proven(query, proof, proof.answer_set[0])


def idle_clues(proven: Proven) -> list[ClueAddress]:
    """Addresses of clues that the proof does not need, in the order in which they had better go.

    Leaves go before edges and those near the root first: what is left then still takes hops to answer.
    """
    walked = list(walk_clues(proven.query.root))
    idle = [
        (isinstance(clue, Edge), len(address), tuple(-i for i in address), address)
        for (address, clue), size in zip(walked, proven.proof.necessity, strict=True)
        if size != UNBOUNDED and size <= 1
    ]
    return [address for *_, address in sorted(idle)]


def prune(bench: Workbench, proven: Proven) -> Proven | Stop:
    """Drop idle clues one after the other, with a new proof after each."""
    for _ in range(MAX_PRUNED):
        idle = idle_clues(proven)
        if not idle:
            return proven
        smaller = _without(proven.query.root, idle[0])
        if not smaller.clues:
            break
        outcome = prove(bench, Query(smaller, proven.query.ask, proven.query.ask_as_of), proven.key)
        if isinstance(outcome, Stop):
            return outcome
        proven = outcome
    return Stop("prove", "redundant_clues", f"clues stayed idle after {MAX_PRUNED} had been pruned", proven.query)


def _without(root: Node, address: ClueAddress) -> Node:
    """The tree without a clue, and without an edge that has nothing left to say about its child."""
    smaller = drop_clue(root, address)
    parent = address[:-1]
    if parent and not node_at(smaller, parent).clues:
        return _without(root, parent)
    return smaller


def node_at(root: Node, address: ClueAddress) -> Node:
    """The vertex that an edge address leads to; `()` is the root."""
    for index in address:
        clue = root.clues[index]
        if not isinstance(clue, Edge):
            raise ValueError(f"no vertex at {address}: {clue}")
        root = clue.child
    return root
