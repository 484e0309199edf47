"""The search environment as a command: serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from datagen.cli.console import say
from datagen.errors import ConfigError

MAX_COUNT = 1_000_000_000
MAX_SLOTS = 100_000_000
"""4 GB of the table of episodes."""


def serve(
    snapshot: Annotated[Path, typer.Argument(help="A snapshot folder.")],
    *,
    release: Annotated[Path | None, typer.Option(help="Serve the questions of this release as tasks.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8321,
    host: Annotated[
        str, typer.Option(help="Address to listen at; one that others can reach needs a token.")
    ] = "127.0.0.1",
    workers: Annotated[int, typer.Option(min=1, help="Processes on the port.")] = 1,
    token_env: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help="Environment variable with the token that clients must send.")
    ] = None,
    searches: Annotated[int, typer.Option(min=0, max=MAX_COUNT, help="Searches of an episode, at most.")] = 40,
    visits: Annotated[int, typer.Option(min=0, max=MAX_COUNT, help="Visits of an episode, at most.")] = 120,
    gradings: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="Answers of an episode that are graded.")] = 1,
    slots: Annotated[
        int, typer.Option(min=1, max=MAX_SLOTS, help="Episodes at once, before the oldest is over.")
    ] = 65_536,
    open_to_all: Annotated[bool, typer.Option("--open", help="Answer calls without an episode, uncounted.")] = False,
    mcp: Annotated[bool, typer.Option("--mcp", help="Speak MCP at /mcp as well.")] = False,
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Speak MCP on standard input and output, and nothing else.")
    ] = False,
) -> None:
    """Serve search and visit over a snapshot until Ctrl-C, for trainers and agents. The address goes to stdout."""
    from datagen.agents.budget import Budget
    from datagen.environment.service import ServiceSettings

    try:
        from datagen.environment import serving
    except ModuleNotFoundError as exc:
        raise ConfigError(f'Serving needs {exc.name}: pip install "datagen[serve]"') from exc
    plan = serving.ServePlan(
        snapshot=str(snapshot),
        release=None if release is None else str(release),
        host=host,
        port=port,
        workers=workers,
        token=_token_from(token_env),
        settings=ServiceSettings(Budget(searches, visits), open_to_all, gradings),
        slots=slots,
        mcp=mcp,
    )
    _check_inputs(snapshot, release)
    if stdio:
        serving.serve_stdio(plan)
        return

    def announce(url: str) -> None:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        say(f"{workers} worker{'s' if workers > 1 else ''}; {_who(plan.token is not None, open_to_all)}. Ctrl-C stops.")
        say(f"Health: {url}/health   tools: {url}/tools{f'   MCP: {url}/mcp' if mcp else ''}")

    try:
        serving.serve(plan, announce)
    except KeyboardInterrupt:
        say("stopped")


def _check_inputs(snapshot: Path, release: Path | None) -> None:
    """Say here, once, what every worker would stumble over."""
    from datagen.environment.tasks import TaskBank
    from datagen.storage import MANIFEST_NAME, read_json
    from datagen.web.snapshot import Snapshot

    served = Snapshot.open(snapshot).digest
    if release is None:
        return
    TaskBank.open(release)
    asked = read_json(release / MANIFEST_NAME)["fields"]["snapshot"]
    if asked != served:
        raise ConfigError(
            f"The questions of {release} are about the snapshot {asked}, and {snapshot} is {served}: its pages do not hold "
            "the answers. Serve the snapshot that the run's config names."
        )


def _token_from(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable)
    if not token:
        raise ConfigError(f"The environment variable {variable} holds no token; set it, or leave --token-env out.")
    return token


def _who(token: bool, open_to_all: bool) -> str:
    door = "clients send the token" if token else "anybody on this machine may call"
    return f"{door}, {'with or without' if open_to_all else 'within'} an episode"
