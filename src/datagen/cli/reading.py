"""Verbs on what was made: verify, report, schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from datagen.cli.console import counting, print_json, print_report, say

schemas_app = typer.Typer(help="The published schema of every table.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]


def report(directory: Annotated[Path, typer.Argument(help="A run directory.")], as_json: AsJson = False) -> None:
    """The funnel of a finished run, and a few of its questions."""
    from datagen.pipeline.finishing import report as report_of

    found = report_of(str(directory))
    if as_json:
        print_json(found.to_dict())
    else:
        print_report(found)


def verify(
    release: Annotated[Path, typer.Argument(help="A release folder.")],
    snapshot: Annotated[Path, typer.Option("--snapshot", help="The snapshot it was made from.")],
    as_json: AsJson = False,
) -> None:
    """Recompute every certificate, hash, id and split of a release with separate, brute-force code."""
    from datagen.dataset.verify import verify_release

    with counting("rows verified") as watch:
        found = verify_release(release, snapshot, watch)
    if as_json:
        faults = [{"row": fault.row, "sentence": fault.sentence} for fault in found.faults]
        print_json({"questions": found.questions, "evidence": found.evidence, "faults": faults})
    found.raise_if_faulty()
    if not as_json:
        say(
            f"{found.questions:,} questions hold: every certificate recomputed, {found.evidence:,} quotes found in place."
        )


@schemas_app.command("export")
def export_schemas(folder: Annotated[Path, typer.Argument(help="Where the files go.")] = Path("schemas")) -> None:
    """Write one JSON Schema per table."""
    from datagen.records.schema import TABLES, json_schema
    from datagen.storage import write_atomic

    for table in TABLES:
        write_atomic(folder / f"{table}.json", (json.dumps(json_schema(table), indent=1) + "\n").encode())
    say(f"{len(TABLES)} schemas in {folder}")
