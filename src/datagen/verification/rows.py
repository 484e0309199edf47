"""Rows of `questions` and `rejects` from what the funnel leaves; the field lists are those of `records.schema`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from datagen.clients.billing import Bill
from datagen.knowledge.formula import Edge, IsA, Node, Query, count_vertices, depth, query_to_dict, walk_clues
from datagen.records.ids import canonical_json, content_id
from datagen.records.question import Certificate, Verdict
from datagen.synthesis.draft import Draft, Rejected
from datagen.verification.dates import newest_evidence
from datagen.verification.rivals import rivals_tried
from datagen.verification.sources import RELAXED, source_mix

EXCLUSION_KINDS = ("stated_value", "complete_list", "type")


def question_id(draft: Draft) -> str:
    """What makes a question itself: its words, its meaning and its key."""
    return content_id(
        "qa1", {"question": draft.question, "tree": query_to_dict(draft.query), "answer": draft.answer.canonical}
    )


def to_question_row(
    draft: Draft,
    verdicts: Sequence[Verdict],
    lineage: Mapping[str, Any],
    cutoff: str | None = None,
    *,
    bill: Bill | None = None,
) -> dict[str, Any]:
    """One row of `questions`. `lineage` names what made the run; candidate, models and prompts are filled in here.

    `bill` is the candidate's own; without one no model was called.
    """
    answer, proof, mix = draft.answer, draft.certificate, source_mix(draft)
    return {
        "id": question_id(draft),
        "question": draft.question,
        "answer": answer.text,
        "answer_aliases": list(answer.aliases),
        "answer_type": answer.type,
        "answer_canonical": answer.canonical,
        "answer_entity": answer.key or (proof.answer_set[0] if proof and proof.answer_set else None),
        "answer_entity_type": answer.entity_type or draft.query.root.type,
        "answer_unit": answer.unit or None,
        "recipe": draft.recipe,
        "mode": draft.mode,
        "themes": list(draft.themes),
        "themes_used": list(draft.themes_used),
        "seed_id": draft.seed_id,
        "difficulty": _difficulty(draft),
        "certificate": _certificate(proof) if proof else None,
        "evidence": [asdict(e) for e in proof.evidence] if proof else [],
        "exclusion_evidence": [asdict(e) for e in proof.exclusion_evidence] if proof else [],
        "n_hosts": len(mix.hosts),
        "source_kinds": list(mix.kinds),
        "encyclopedia_share": round(mix.encyclopedia_share, 4),
        "newest_evidence": newest_evidence(draft),
        "cutoff": cutoff,
        "relaxed_gates": [v.gate for v in verdicts if v.reason == RELAXED],
        "hops": [asdict(hop) for hop in draft.hops],
        "obfuscations": [asdict(edit) for edit in draft.obfuscations],
        "question_raw": draft.question_raw,
        "wording": draft.wording,
        "proposer": draft.proposer,
        "verifiers": list(draft.verifiers),
        "attempts": [
            {**asdict(a), "urls": list(a.urls), "evidence_urls": list(a.evidence_urls)} for a in draft.attempts
        ],
        "guesses": list(draft.guesses),
        "closed_book": [{**asdict(record), "answers": list(record.answers)} for record in draft.closed_book],
        "oracle": {**asdict(draft.oracle), "answers": list(draft.oracle.answers)} if draft.oracle else None,
        "rivals_tried": rivals_tried(draft),
        "verdicts": [asdict(v) for v in verdicts],
        "tree": _tree(draft.query),
        "spend": _spend(draft.spend, bill),
        "lineage": _lineage(lineage, draft.candidate, bill),
    }


def to_reject_row(rejected: Rejected, lineage: Mapping[str, Any], *, bill: Bill | None = None) -> dict[str, Any]:
    """One row of `rejects`; question and tree are null where the candidate ended before it had them."""
    draft = rejected.draft
    query = draft.query if draft else rejected.query
    return {
        "candidate": rejected.candidate,
        "recipe": rejected.recipe,
        "gate": rejected.gate,
        "reason": rejected.reason,
        "detail": rejected.detail,
        "question": draft.question if draft else None,
        "answer": draft.answer.text if draft else None,
        "tree": _tree(query) if query else None,
        "verdicts": [asdict(v) for v in rejected.verdicts],
        "spend": _spend(rejected.spend, bill),
        "lineage": _lineage(lineage, rejected.candidate, bill),
    }


def _tree(query: Query) -> str:
    return canonical_json(query_to_dict(query)).decode()


def _spend(spend: Mapping[str, int], bill: Bill | None) -> dict[str, Any]:
    """Calls are counted, so none is 0; tokens and money are null where nobody measured any."""
    return {"searches": spend.get("searches", 0), "visits": spend.get("visits", 0), **(bill or Bill()).spend()}


def _lineage(run: Mapping[str, Any], candidate: int, bill: Bill | None) -> dict[str, Any]:
    """What made the run, and which models and prompts had a hand in this row."""
    used = bill or Bill()
    return {**run, "candidate": candidate, "models": list(used.models), "prompts": list(used.prompts)}


def _certificate(proof: Certificate) -> dict[str, Any]:
    return {
        "mode": proof.mode,
        "answer_set": list(proof.answer_set),
        "rivals": proof.rivals,
        "clues": list(proof.clues),
        "sizes": list(proof.sizes),
        "necessity": list(proof.necessity),
        "minimal_subset": list(proof.minimal_subset),
        "minimal_subset_exact": proof.minimal_subset_exact,
        "min_documents": proof.min_documents,
        "dependency_depth": proof.dependency_depth,
        "exposed_constants": list(proof.exposed_constants),
        "excluded_by": {kind: proof.excluded_by.get(kind, 0) for kind in EXCLUSION_KINDS},
        "assumptions": list(proof.assumptions),
    }


def _difficulty(draft: Draft) -> dict[str, Any]:
    root, proof = draft.query.root, draft.certificate
    clues = [clue for _, clue in walk_clues(root)]
    tries = draft.attempts
    return {
        "vertices": count_vertices(root),
        "depth": depth(root),
        "max_branching": max(len(node.clues) for node in _nodes(root)),
        "leaves": sum(not isinstance(clue, Edge) for clue in clues),
        "clues": sum(not isinstance(clue, IsA) for clue in clues),
        "min_documents": proof.min_documents if proof else None,
        "dependency_depth": proof.dependency_depth if proof else None,
        "minimal_subset_size": len(proof.minimal_subset) if proof else None,
        "solver_searches": round(sum(a.searches for a in tries) / len(tries), 4) if tries else None,
        "solver_visits": round(sum(a.visits for a in tries) / len(tries), 4) if tries else None,
    }


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for clue in node.clues:
        if isinstance(clue, Edge):
            yield from _nodes(clue.child)
