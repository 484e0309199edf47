"""Verbs on the corpus: build and describe a snapshot, search and visit it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from datagen.cli.console import as_plain, out, print_json, print_table, say

snapshot_app = typer.Typer(help="Build a frozen corpus, or say what is in one.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="A snapshot folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]


@snapshot_app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Where the snapshot goes.")],
    sources: Annotated[
        list[str],
        typer.Argument(
            help="pages.warc.gz, wiki.zim, a folder of HTML, rows.jsonl, rows.parquet, synthetic:seed=7,pages=2000"
        ),
    ],
    *,
    extraction: Annotated[str, typer.Option(help="trafilatura keeps most; fast is for large corpora.")] = "trafilatura",
    catalogue: Annotated[
        str, typer.Option(help="synthetic, induced, or a catalogue file; default: synthetic for the synthetic web.")
    ] = "",
    workers: Annotated[int, typer.Option(min=1, help="Extraction processes.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Read pages from sources into a snapshot with index and facts. A source that is in it already is not read again."""
    from datagen.config import KnowledgeConfig, WebConfig
    from datagen.pipeline.corpus import build_corpus_from

    named = catalogue or ("synthetic" if all(s.startswith("synthetic") for s in sources) else "induced")
    web = WebConfig.model_validate(
        {"snapshot": str(folder), "sources": tuple(sources), "extraction": extraction, "workers": workers}
    )
    counts = build_corpus_from(web, KnowledgeConfig(catalogue=named), say)
    if as_json:
        print_json(counts)
    else:
        print_table(("what", "count"), list(counts.items()))


@snapshot_app.command()
def info(folder: Folder, as_json: AsJson = False) -> None:
    """What a snapshot holds, and where it came from."""
    from datagen.pipeline.corpus import describe_corpus

    counts = describe_corpus(folder)
    if as_json:
        print_json(counts)
    else:
        print_table(("what", "value"), list(counts.items()))


def search(
    folder: Folder,
    query: Annotated[str, typer.Argument(help="Free text.")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=100)] = 5,
    as_json: AsJson = False,
) -> None:
    """Search a snapshot, as a solver does."""
    from datagen.web.snapshot import Snapshot
    from datagen.web.snapshot_web import SnapshotWeb

    hits = SnapshotWeb(Snapshot.open(folder)).search(query, top_k)
    if as_json:
        print_json([as_plain(hit) for hit in hits])
        return
    for hit in hits:
        out.print(f"{hit.title}  [{hit.source_kind}, {hit.published_at or 'undated'}]", style="bold", markup=False)
        out.print(hit.url, style="blue", markup=False)
        out.print(hit.snippet, markup=False)
        out.print()
    if not hits:
        say("nothing found")


def visit(
    folder: Folder,
    url: Annotated[str, typer.Argument(help="Address of a page.")],
    offset: Annotated[int, typer.Option(min=0, help="First character of the window.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Read one window of a page of a snapshot, as a solver does."""
    from datagen.web.snapshot import Snapshot
    from datagen.web.snapshot_web import SnapshotWeb

    window = SnapshotWeb(Snapshot.open(folder)).visit(url, offset)
    if as_json:
        print_json(as_plain(window))
        return
    say(f"{window.title}  [{window.source_kind}, {window.published_at or 'undated'}]  {window.url}")
    out.print(window.text, markup=False)
    if window.next_offset is not None:
        say(f"{window.total_chars:,} characters; go on with --offset {window.next_offset}")
