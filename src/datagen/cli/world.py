"""Verbs on the synthetic web: render one page, serve all of them over HTTP, hold a run against its truth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from datagen.cli.console import as_plain, print_json, print_table, say
from datagen.errors import ReleaseError

world_app = typer.Typer(help="The built-in synthetic web.", no_args_is_help=True)

Seed = Annotated[int, typer.Option(min=0, help="Which fictional world.")]
Pages = Annotated[int, typer.Option(min=300, help="How many pages it has, about.")]


@world_app.command()
def render(
    url: Annotated[str | None, typer.Argument(help="Address of a page; without one, all addresses are listed.")] = None,
    seed: Seed = 7,
    pages: Pages = 2000,
) -> None:
    """Write the HTML of one page to stdout."""
    from datagen.web.synthetic.pages import SyntheticWeb

    web = SyntheticWeb(seed, pages)
    if url is None:
        sys.stdout.writelines(f"{address}\n" for address in web.page_urls())
    else:
        sys.stdout.buffer.write(web.render(url)[0])


@world_app.command()
def serve(
    seed: Seed = 7,
    pages: Pages = 2000,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    search: Annotated[
        Path | None, typer.Option(help="A snapshot of these pages; with it, /search answers as SearXNG does.")
    ] = None,
) -> None:
    """Serve the synthetic web over HTTP on this machine, until Ctrl-C."""
    from datagen.web.snapshot import Snapshot
    from datagen.web.snapshot_web import SnapshotWeb
    from datagen.web.synthetic.pages import SyntheticWeb
    from datagen.web.synthetic.server import serve as open_server

    index = SnapshotWeb(Snapshot.open(search)) if search else None
    with open_server(SyntheticWeb(seed, pages), port=port, search=index) as server:
        also = ", and its search at /search?q=WORDS&format=json" if index else ""
        say(f"serving about {pages:,} pages of world {seed} at {server.address}{also}; Ctrl-C stops")
        server.serve_forever()


@world_app.command()
def audit(
    directory: Annotated[Path, typer.Argument(help="A finished run on the synthetic web.")],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Ask the world itself whether every accepted question has its key as the only answer."""
    from datagen.pipeline.auditing import audit_run

    found = audit_run(str(directory))
    if as_json:
        print_json(as_plain(found) | {"precision": found.precision})
    else:
        rows = [
            ("questions", found.questions),
            ("with a second answer in the world", found.second_answers),
            ("with a wrong answer", found.wrong_answers),
            ("candidates without a proof", found.unproved),
            ("of these, with one answer in the world (lost to caution)", found.lost_to_caution),
            ("questions without a certificate", found.uncertified),
            ("of these, evaluated in the world", found.uncertified_checked),
            ("of these, refuted by it", found.uncertified_refuted),
        ]
        print_table(("what", "count"), rows)
    if found.faults:
        raise ReleaseError(f"{directory} holds a question that its world refutes. First: {found.faults[0]}")
