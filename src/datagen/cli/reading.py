"""Verbs on what was made: verify, report, schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from datagen.cli.console import print_json, print_report, say

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


@schemas_app.command("export")
def export_schemas(folder: Annotated[Path, typer.Argument(help="Where the files go.")] = Path("schemas")) -> None:
    """Write one JSON Schema per table."""
    from datagen.records.schema import TABLES, json_schema
    from datagen.storage import write_atomic

    for table in TABLES:
        write_atomic(folder / f"{table}.json", (json.dumps(json_schema(table), indent=1) + "\n").encode())
    say(f"{len(TABLES)} schemas in {folder}")
