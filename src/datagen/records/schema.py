"""The published schema of every table: one `Features` object each, from which Arrow and JSON Schema are made.

`Features` is the source because the Hub viewer and `datasets.load_dataset` read it from the Parquet footer. Free-form
structures (formula trees, rejected drafts) are JSON text: a struct would give each row the keys of all others as nulls.
Counts of tokens and money are measured or null, never zero by default.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
from datasets import Features, List, Value

STRING, INT, FLOAT, BOOL = Value("string"), Value("int32"), Value("float64"), Value("bool")

EVIDENCE = {
    "clue": INT,
    "page_id": STRING,
    "url": STRING,
    "host": STRING,
    "source_kind": STRING,
    "published_at": STRING,
    "start": INT,
    "end": INT,
    "quote": STRING,
    "sha256": STRING,
}
SPEND = {
    "searches": INT,
    "visits": INT,
    "calls": INT,
    "input_tokens": Value("int64"),
    "output_tokens": Value("int64"),
    "cost_usd": FLOAT,
    "judge_calls": INT,
    "judge_input_tokens": Value("int64"),
    "judge_output_tokens": Value("int64"),
    "judge_cost_usd": FLOAT,
    "corrections": INT,
}
VERDICT = {"gate": STRING, "passed": BOOL, "reason": STRING, "detail": STRING, "searches": INT, "visits": INT}
ATTEMPT = {
    "solver": STRING,
    "answer": STRING,
    "answer_key": STRING,
    "failure": STRING,
    "searches": INT,
    "visits": INT,
    "urls": List(STRING),
    "evidence_urls": List(STRING),
    "correct": BOOL,
    "judged": BOOL,
}
CLOSED_BOOK = {
    "guesser": STRING,
    "answers": List(STRING),
    "samples": INT,
    "hits": INT,
    "audit_samples": INT,
    "audit_hits": INT,
}
ORACLE = {"attempts": INT, "right": INT, "distractors": INT, "answers": List(STRING)}
HOP = {
    "entity_in": STRING,
    "relation": STRING,
    "entity_out": STRING,
    "fact": STRING,
    "url": STRING,
    "host": STRING,
    "source_kind": STRING,
    "published_at": STRING,
    "as_of": STRING,
    "quote": STRING,
}
OBFUSCATION = {"kind": STRING, "before": STRING, "after": STRING, "size_before": INT, "size_after": INT}
CERTIFICATE = {
    "mode": STRING,
    "answer_set": List(STRING),
    "rivals": INT,
    "clues": List(STRING),
    "sizes": List(INT),
    "necessity": List(INT),
    "minimal_subset": List(INT),
    "minimal_subset_exact": BOOL,
    "min_documents": INT,
    "dependency_depth": INT,
    "exposed_constants": List(STRING),
    "excluded_by": {"stated_value": INT, "complete_list": INT, "type": INT},
    "assumptions": List(STRING),
}
DIFFICULTY = {
    "vertices": INT,
    "depth": INT,
    "max_branching": INT,
    "leaves": INT,
    "clues": INT,
    "min_documents": INT,
    "dependency_depth": INT,
    "minimal_subset_size": INT,
    "solver_searches": FLOAT,
    "solver_visits": FLOAT,
}
LINEAGE = {
    "candidate": Value("int64"),
    "seed": Value("int64"),
    "snapshot": STRING,
    "config": STRING,
    "catalogue": STRING,
    "code": STRING,
    "cast": STRING,
    "models": List(STRING),
    "prompts": List(STRING),
}

SHOWN = {"url": STRING, "page_id": STRING, "start": INT, "end": INT}
EVENT = {
    "turn": INT,
    "kind": STRING,
    "text": STRING,
    "call_id": STRING,
    "tool": STRING,
    "arguments": STRING,
    "error": STRING,
    "documents": List(SHOWN),
}
GENERATION = {
    "turn": INT,
    "token_ids": List(INT),
    "logprobs": List(Value("float32")),
    "prompt_tokens": INT,
    "finish_reason": STRING,
    "model_version": STRING,
}
STEP_LABEL = {"call": INT, "turn": INT, "label": STRING, "claims": List(INT), "reason": STRING}
REWARD = {
    "fathom": FLOAT,
    "fathom_steps": FLOAT,
    "webexplorer": FLOAT,
    "infoseek": FLOAT,
    "arpo": FLOAT,
    "clues": FLOAT,
}

TABLES: dict[str, Features] = {
    "pages": Features(
        {
            "id": STRING,
            "url": STRING,
            "host": STRING,
            "source_kind": STRING,
            "title": STRING,
            "text": STRING,
            "links": List({"start": INT, "end": INT, "url": STRING, "anchor": STRING}),
            "published_at": STRING,
            "about_url": STRING,
            "entity_type": STRING,
            "sha256": STRING,
            "licence": STRING,
            "language": STRING,
        }
    ),
    "facts": Features(
        {
            "subject": STRING,
            "relation": STRING,
            "object": STRING,
            "object_key": STRING,
            "literal_kind": STRING,
            "literal_text": STRING,
            "low": FLOAT,
            "high": FLOAT,
            "unit": STRING,
            "valid_from": STRING,
            "as_of": STRING,
            "page_id": STRING,
            "url": STRING,
            "start": INT,
            "end": INT,
            "quote": STRING,
            "sha256": STRING,
            "source_kind": STRING,
            "published_at": STRING,
        }
    ),
    "closures": Features(
        {
            "side": STRING,
            "relation": STRING,
            "anchor_key": STRING,
            "literal_kind": STRING,
            "literal_text": STRING,
            "low": FLOAT,
            "high": FLOAT,
            "unit": STRING,
            "entity_type": STRING,
            "members": List(STRING),
            "as_of": STRING,
            "page_id": STRING,
            "url": STRING,
            "start": INT,
            "end": INT,
            "quote": STRING,
            "sha256": STRING,
            "source_kind": STRING,
            "published_at": STRING,
        }
    ),
    "entities": Features({"key": STRING, "name": STRING, "type": STRING, "aliases": List(STRING)}),
    "questions": Features(
        {
            "id": STRING,
            "question": STRING,
            "answer": STRING,
            "answer_aliases": List(STRING),
            "answer_type": STRING,
            "answer_canonical": STRING,
            "answer_entity": STRING,
            "answer_entity_type": STRING,
            "answer_unit": STRING,
            "recipe": STRING,
            "mode": STRING,
            "themes": List(STRING),
            "themes_used": List(STRING),
            "seed_id": STRING,
            "difficulty": DIFFICULTY,
            "certificate": CERTIFICATE,
            "evidence": List(EVIDENCE),
            "exclusion_evidence": List(EVIDENCE),
            "n_hosts": INT,
            "source_kinds": List(STRING),
            "encyclopedia_share": FLOAT,
            "newest_evidence": STRING,
            "cutoff": STRING,
            "relaxed_gates": List(STRING),
            "hops": List(HOP),
            "obfuscations": List(OBFUSCATION),
            "question_raw": STRING,
            "wording": STRING,
            "proposer": STRING,
            "verifiers": List(STRING),
            "attempts": List(ATTEMPT),
            "guesses": List(STRING),
            "closed_book": List(CLOSED_BOOK),
            "oracle": ORACLE,
            "rivals_tried": INT,
            "verdicts": List(VERDICT),
            "tree": STRING,
            "spend": SPEND,
            "lineage": LINEAGE,
        }
    ),
    "rejects": Features(
        {
            "candidate": Value("int64"),
            "recipe": STRING,
            "gate": STRING,
            "reason": STRING,
            "detail": STRING,
            "question": STRING,
            "answer": STRING,
            "tree": STRING,
            "verdicts": List(VERDICT),
            "spend": SPEND,
            "lineage": LINEAGE,
        }
    ),
    "trajectories": Features(
        {
            "id": STRING,
            "question_id": STRING,
            "question": STRING,
            "expected": STRING,
            "recipe": STRING,
            "policy": STRING,
            "attempt": INT,
            "answer": STRING,
            "answer_key": STRING,
            "correct": BOOL,
            "answer_check": STRING,
            "verified": BOOL,
            "shortcut": BOOL,
            "termination": STRING,
            "detail": STRING,
            "clue_turns": List(INT),
            "seen_turn": INT,
            "said_turn": INT,
            "n_turns": INT,
            "n_searches": INT,
            "n_visits": INT,
            "reward": REWARD,
            "step_labels": List(STEP_LABEL),
            "events": List(EVENT),
            "generations": List(GENERATION),
            "input_tokens": Value("int64"),
            "output_tokens": Value("int64"),
            "spend": SPEND,
            "lineage": LINEAGE,
        }
    ),
    "preferences": Features(
        {
            "id": STRING,
            "question_id": STRING,
            "question": STRING,
            "kind": STRING,
            "rule": STRING,
            "detail": STRING,
            "prefix": List(EVENT),
            "chosen": List(EVENT),
            "rejected": List(EVENT),
            "chosen_id": STRING,
            "rejected_id": STRING,
        }
    ),
}


@cache
def arrow_schema(table: str) -> pa.Schema:
    """Arrow schema of a table, with the `huggingface` metadata key that makes `load_dataset` give these features."""
    schema: pa.Schema = TABLES[table].arrow_schema
    return schema


def json_schema(table: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one row, for readers in other languages."""
    fields = TABLES[table]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": table,
        "type": "object",
        "properties": {name: _json_type(feature) for name, feature in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }


def _json_type(feature: object) -> dict[str, Any]:
    if isinstance(feature, dict):
        return {
            "type": ["object", "null"],
            "properties": {name: _json_type(inner) for name, inner in feature.items()},
            "required": list(feature),
            "additionalProperties": False,
        }
    if isinstance(feature, List):
        return {"type": ["array", "null"], "items": _json_type(feature.feature)}
    if isinstance(feature, Value):
        dtype = str(feature.dtype)
        name = {"string": "string", "bool": "boolean"}.get(dtype, "number" if "float" in dtype else "integer")
        return {"type": [name, "null"]}
    raise TypeError(f"no JSON Schema for the feature {feature!r}")
