"""The verb that writes a release for a trainer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from datagen.cli.console import as_plain, print_json, print_table, say


class Target(StrEnum):
    """Who reads the export."""

    VERL = "verl"
    TRL = "trl"
    VERIFIERS = "verifiers"
    OPENRLHF = "openrlhf"
    SLIME = "slime"
    SKYRL = "skyrl"
    INFOSEEK = "infoseek"
    BROWSECOMP_PLUS = "browsecomp-plus"


def export(
    release: Annotated[Path, typer.Argument(help="A release folder.")],
    target: Annotated[Target, typer.Option("--to", help="The trainer or benchmark that shall read it.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; must be new or empty.")],
    name: Annotated[str, typer.Option(help="Name of the data source in rows.")] = "datagen",
    snapshot: Annotated[
        Path | None, typer.Option(help="infoseek: the snapshot, which names the inner entities of trees.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="browsecomp-plus: the split to evaluate on; test if unset.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Write a release in the form that a trainer reads: rows, tool config, reward, and a README with the command."""
    from datagen.dataset.exports import export as export_release

    given = {"snapshot": snapshot, "split": split}
    options = {key: value for key, value in given.items() if value is not None}
    done = export_release(release, str(target), out, name=name, **options)
    if as_json:
        print_json(as_plain(done))
        return
    print_table(("file", "rows"), list(done.rows.items()))
    say(f"Written to {done.folder}; {done.folder / 'README.md'} shows the command that trains with it.")
