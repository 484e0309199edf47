"""The practice endpoint as a command: chat completions from programs, and faults on demand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datagen.cli.console import say
from datagen.errors import ConfigError

if TYPE_CHECKING:
    from datagen.knowledge.catalogue import Catalogue
    from datagen.practice.knobs import Fault, Knobs
    from datagen.practice.wire import Mind

SYNTHETIC = "synthetic"
ALL_FAULTS = "all"

FaultShares = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="NAME=SHARE",
        help="Share of requests that a fault strikes, such as reset=0.1; may be repeated. Names: throttle-wait, throttle, "
        "server-error, reset, truncated, malformed-json, wrong-schema, refusal, false-quotes, or all to spread a share.",
    ),
]
LatencyText = Annotated[
    str, typer.Option(metavar="SECONDS", help='Time a reply takes: "0.5", "uniform:0.2,1.5", "lognormal:1.0,0.5".')
]


def practice_llm(
    snapshot: Annotated[Path | None, typer.Option(help="Take the words of this snapshot's catalogue.")] = None,
    catalogue: Annotated[str, typer.Option(help="synthetic, or a catalogue file.")] = SYNTHETIC,
    canned: Annotated[str | None, typer.Option(metavar="TEXT", help="No mind: one text for every request.")] = None,
    competence: Annotated[float, typer.Option(min=0, max=1, help="Share of tasks that the mind gets right.")] = 1.0,
    closed_type: Annotated[
        list[str] | None, typer.Option(help="A type of which every member has a page; as in knowledge.closed_types.")
    ] = None,
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8089,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    latency: LatencyText = "0",
    at_once: Annotated[int | None, typer.Option(min=1, help="Requests in progress; the next one gets a 429.")] = None,
    fault: FaultShares = None,
    retry_after: Annotated[float, typer.Option(min=0, help="Seconds that throttle-wait asks for.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides whom faults strike.")] = 0,
    ledger: Annotated[Path | None, typer.Option(help="Keep what was billed in this file (JSON lines).")] = None,
    require_key: Annotated[
        str | None, typer.Option(metavar="VARIABLE", help="Environment variable with the key that clients must show.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Threads that think.")] = 4,
) -> None:
    """Serve chat completions on this machine, until Ctrl-C. The base URL goes to stdout."""
    from datagen.practice.knobs import Knobs, Latency
    from datagen.practice.server import PracticeServer, serve

    knobs = Knobs(Latency.parse(latency), at_once, _shares(fault or []), retry_after, seed)
    mind = _mind(snapshot, catalogue, canned, competence, tuple(closed_type or ()))
    server = PracticeServer(
        mind, knobs=knobs, host=host, port=port, ledger_path=ledger, require_key=require_key, workers=workers
    )

    def announce() -> None:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        key = f'\napi_key_env = "{require_key}"' if require_key else ""
        say(f"practising; {_said(knobs)}. Ctrl-C stops. In a cast file:\n")
        say(f'[endpoints.practice]\nbase_url = "{server.url}"\nidentity = "practice"{key}\n')
        say(f"What was billed: {server.url.removesuffix('/v1')}/ledger")

    serve(server, announce)
    say("stopped")


def _shares(told: list[str]) -> dict[Fault, float]:
    from datagen.practice.knobs import Fault

    shares: dict[Fault, float] = {}
    for text in told:
        name, _, share = text.partition("=")
        try:
            struck = tuple(Fault) if name == ALL_FAULTS else (Fault(name),)
            amount = float(share)
        except ValueError:
            names = ", ".join(Fault)
            raise ConfigError(f"{text!r} is no share of a fault; write NAME=0.1 with one of all, {names}.") from None
        for fault in struck:
            shares[fault] = shares.get(fault, 0.0) + amount / len(struck)
    return shares


def _mind(
    snapshot: Path | None, catalogue: str, canned: str | None, competence: float, closed_types: tuple[str, ...]
) -> Mind:
    if canned is not None:
        from datagen.practice.canned import CannedMind

        return CannedMind(canned)
    from datagen.practice.minds import SymbolicMind

    return SymbolicMind(_catalogue(snapshot, catalogue), competence=competence, closed_types=closed_types)


def _catalogue(snapshot: Path | None, name: str) -> Catalogue:
    """Words alone: no page and no fact of a snapshot gets to the mind."""
    if snapshot is not None:
        from datagen.web.snapshot import Snapshot

        return Snapshot.open(snapshot).catalogue()
    from datagen.knowledge.catalogue import load_catalogue
    from datagen.web.synthetic.ontology import load_ontology

    if name == SYNTHETIC:
        return load_ontology()
    if not Path(name).is_file():
        raise ConfigError(f"--catalogue {name} is no file; write `synthetic`, or name a catalogue, or pass --snapshot.")
    return load_catalogue(Path(name))


def _said(knobs: Knobs) -> str:
    struck = ", ".join(f"{name} {share:.1%}" for name, share in knobs.faults.items() if share)
    return f"faults: {struck}" if struck else "no faults"
