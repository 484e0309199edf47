"""Verbs on the synthetic web: render one page, serve all of them over HTTP."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from datagen.cli.console import say

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
) -> None:
    """Serve the synthetic web over HTTP on this machine, until Ctrl-C."""
    from datagen.web.synthetic.pages import SyntheticWeb
    from datagen.web.synthetic.server import serve as open_server

    with open_server(SyntheticWeb(seed, pages), port=port) as server:
        say(f"serving about {pages:,} pages of world {seed} at {server.address}; Ctrl-C stops")
        server.serve_forever()
