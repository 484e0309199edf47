"""BrowseComp-Plus: topics, qrels and run files, so that its evaluator can compare agents on our questions.

    topics-qrels/queries.tsv          query_id <tab> question
    topics-qrels/qrel_evidence.txt    query_id Q0 docid 1      every page that proves a clue
    topics-qrels/qrel_golds.txt       query_id Q0 docid 1      of these, the pages on the answer or that name it
    answers.jsonl                     query_id, query, answer, answer_aliases
    runs/POLICY-N/QUERY_ID.json       an attempt: counts of calls, documents retrieved, what was said, the answer

A document's id is its address, which is how the tools name it (spec infoseek_webexplorer §4.1). A run file says nothing
of confidence, for nobody asked the agents; the evaluator takes what is missing for 100 %.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from datagen.dataset.exports.reading import Row
from datagen.dataset.exports.truth import questions, truth_of
from datagen.dataset.exports.wording import filled
from datagen.dataset.exports.writing import ExportFolder
from datagen.errors import ExportError
from datagen.records.trajectory import Event
from datagen.records.trajectory_rows import events_of

SPLIT = "test"
OPTIONS = frozenset({"split"})


def write(folder: ExportFolder, *, name: str, split: str = SPLIT) -> None:
    release = folder.release
    if split not in release.splits("questions"):
        there = ", ".join(release.splits("questions"))
        raise ExportError(f"{release.folder} has no questions in {split!r}; pass --split with one of: {there}.")
    rows = list(questions(release, split, "evidence"))
    folder.text("topics-qrels/queries.tsv", "".join(f"{row['id']}\t{one_line(row['question'])}\n" for row in rows))
    folder.text("topics-qrels/qrel_evidence.txt", _qrels(rows, evidence_docids))
    folder.text("topics-qrels/qrel_golds.txt", _qrels(rows, gold_docids))
    folder.lines("answers.jsonl", map(_answer, rows))
    runs = write_runs(folder, split)
    ungolden = sum(not gold_docids(row) for row in rows)
    folder.text(
        "README.md",
        filled(
            "browsecomp_plus.md",
            name=name,
            split=split,
            queries=len(rows),
            runs=runs,
            ungolden=ungolden,
            snapshot=release.snapshot,
        ),
    )


def write_runs(folder: ExportFolder, split: str) -> Mapping[str, int]:
    """One file for each attempt; returns how many each policy's run has."""
    counts: Counter[str] = Counter()
    columns = ["question_id", "policy", "attempt", "answer", "termination", "events"]
    for row in folder.release.rows("trajectories", split, columns):
        run = f"{row['policy']}-{row['attempt']}"
        counts[run] += 1
        folder.text(
            f"runs/{run}/{row['question_id']}.json", json.dumps(run_of(row), ensure_ascii=False, indent=1) + "\n"
        )
    return dict(sorted(counts.items()))


def run_of(row: Row) -> dict[str, Any]:
    """An attempt as the evaluator reads it. Its last part is the answer; one without an answer is not "completed"."""
    events = events_of(row["events"])
    answer = next((event for event in reversed(events) if event.kind == "answer"), None)
    completed = row["termination"] == "answered" and answer is not None
    return {
        "query_id": row["question_id"],
        "tool_call_counts": dict(Counter(event.tool for event in events if event.kind == "call" and event.tool)),
        "status": "completed" if completed else row["termination"],
        "retrieved_docids": retrieved(events),
        "result": [*_parts(events), {"type": "output_text", "output": _said(answer, row["answer"])}],
    }


def retrieved(events: Iterable[Event]) -> list[str]:
    """Documents that results showed, each once, in the order in which they came."""
    return list(dict.fromkeys(docid(d.url) for event in events if event.kind == "result" for d in event.documents))


def _parts(events: Sequence[Event]) -> Iterator[dict[str, Any]]:
    results = {event.call_id: event.text for event in events if event.kind == "result"}
    for event in events:
        if event.kind in ("thought", "malformed") and event.text:
            yield {"type": "reasoning", "tool_name": None, "arguments": None, "output": event.text}
        elif event.kind == "call":
            yield {
                "type": "tool_call",
                "tool_name": event.tool,
                "arguments": event.arguments,
                "output": results.get(event.call_id),
            }


def _said(answer: Event | None, given: str | None) -> str:
    if answer is None:
        return ""
    cited = " ".join(f"[{docid(source.url)}]" for source in answer.documents)
    return f"Explanation: {cited or 'see the steps above.'}\nExact Answer: {given or answer.text}"


def evidence_docids(row: Row) -> list[str]:
    return list(dict.fromkeys(docid(span["url"]) for span in row["evidence"] or ()))


def gold_docids(row: Row) -> list[str]:
    """Of the evidence, the answer's own page and those whose quotes name the answer."""
    forms = [form.casefold() for form in truth_of(row)["target"]]
    return list(
        dict.fromkeys(
            docid(span["url"])
            for span in row["evidence"] or ()
            if span["url"] == row["answer_entity"] or any(form in span["quote"].casefold() for form in forms)
        )
    )


def docid(url: str) -> str:
    """An address as a field between spaces."""
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def one_line(text: str) -> str:
    return " ".join(text.split())


def _qrels(rows: Iterable[Row], documents: Any) -> str:
    return "".join(f"{row['id']} Q0 {document} 1\n" for row in rows for document in documents(row))


def _answer(row: Row) -> dict[str, Any]:
    return {
        "query_id": row["id"],
        "query": row["question"],
        "answer": row["answer"],
        "answer_aliases": list(row["answer_aliases"] or ()),
    }
