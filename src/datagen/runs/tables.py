"""The tables of a run, assembled from its shards in candidate order; then the manifest, which says that they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import storage
from datagen.records.schema import arrow_schema
from datagen.runs.directory import Run
from datagen.runs.settlement import Settlement
from datagen.runs.shards import Row, read_outcomes
from datagen.storage import Manifest

RUN_KIND, RUN_VERSION = "run", 1


def assemble(run: Run, settlement: Settlement) -> Manifest:
    """Write `questions.parquet`, `rejects.parquet` and the manifest. Equal runs give equal bytes."""
    questions = storage.write_parquet(
        storage.join(run.directory, "questions.parquet"),
        _questions(run, settlement),
        schema=arrow_schema("questions"),
    )
    rejects = storage.write_parquet(
        storage.join(run.directory, "rejects.parquet"), _rejects(run, settlement), schema=arrow_schema("rejects")
    )
    manifest = Manifest(
        kind=RUN_KIND,
        version=RUN_VERSION,
        files=(questions, rejects),
        fields={
            "config": run.config.digest,
            "snapshot": run.snapshot,
            "target": dict(settlement.target),
            "accepted": {recipe: settlement.accepted.get(recipe, 0) for recipe in settlement.target},
            "candidates": {recipe: settlement.candidates.get(recipe, 0) for recipe in settlement.target},
        },
    )
    storage.write_manifest(run.directory, manifest)
    return manifest


def read_run_manifest(directory: str) -> Manifest:
    """The manifest of a finished run."""
    return storage.read_manifest(directory, kind=RUN_KIND, version=RUN_VERSION)


def _questions(run: Run, settlement: Settlement) -> Iterator[pa.RecordBatch]:
    overruled = pa.array(sorted(settlement.overruled), pa.int64())
    for table in read_outcomes(run, ["question"], stop=settlement.settled):
        beaten = pc.is_in(table["candidate"], value_set=overruled)
        kept = table.filter(pc.and_(pc.is_valid(table["question"]), pc.invert(beaten)))
        yield from _unfold(kept["question"])


def _rejects(run: Run, settlement: Settlement) -> Iterator[pa.RecordBatch]:
    schema = arrow_schema("rejects")
    overruled = pa.array(sorted(settlement.overruled), pa.int64())
    for table in read_outcomes(run, ["question", "reject"], stop=settlement.settled):
        rejected = pa.Table.from_batches(_unfold(table.filter(pc.is_valid(table["reject"]))["reject"]), schema)
        beaten = table.filter(pc.is_in(table["candidate"], value_set=overruled))
        if beaten.num_rows:
            rows = [_overruled_row(row, settlement) for row in beaten.to_pylist()]
            rejected = pa.concat_tables([rejected, pa.Table.from_pylist(rows, schema)]).sort_by("candidate")
        yield from rejected.to_batches()


def _unfold(column: pa.ChunkedArray[pa.StructScalar]) -> list[pa.RecordBatch]:
    """A column of rows as record batches."""
    return pa.Table.from_struct_array(column).to_batches()


def _overruled_row(outcome: Row, settlement: Settlement) -> dict[str, Any]:
    """The reject of a candidate that its shard accepted."""
    gate, reason, detail = settlement.overruled[outcome["candidate"]]
    question = outcome["question"]
    verdict = {"gate": gate, "passed": False, "reason": reason, "detail": detail, "searches": 0, "visits": 0}
    return {
        "candidate": outcome["candidate"],
        "recipe": question["recipe"],
        "gate": gate,
        "reason": reason,
        "detail": detail,
        "question": question["question"],
        "answer": question["answer"],
        "tree": question["tree"],
        "verdicts": [*question["verdicts"], verdict],
        "spend": question["spend"],
        "lineage": question["lineage"],
    }
