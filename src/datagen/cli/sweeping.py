"""The verb on several trainings: sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from datagen.cli.console import out, print_json, say

SWEEP_EPILOG = (
    "Run it again to go on: finished runs are skipped, begun ones go on from their checkpoints, failed ones are tried again. "
    "--table reads what is there, also while another process trains. Shipped sweeps: rapo_rare, rapo_saturated, steer_steps."
)


def sweep(
    file: Annotated[str, typer.Argument(help="A TOML file of a sweep, or a shipped one by its name.")],
    *,
    workers: Annotated[int, typer.Option(min=1, help="Runs at once, each a process with one thread.")] = 1,
    only: Annotated[list[str] | None, typer.Option("--only", help="Train this arm alone. Repeatable.")] = None,
    seeds: Annotated[str, typer.Option(help="Train these seeds alone, such as 1,2.")] = "",
    overlays: Annotated[
        list[str] | None, typer.Option("--set", help="Lay section.key=value over the base of every arm; repeatable.")
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing; tell what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Train arms of one training under several seeds, from one policy and with as many attempts, and set them side by side."""
    from datagen.training.sweep_table import write_table
    from datagen.training.sweeping import plan_sweep, run_sweep

    plan = plan_sweep(file, overlays or ())
    failed = False
    if not table:
        ends = run_sweep(plan, workers, only=plan.part(only or (), _numbers(seeds)), tell=say)
        failed = any(one.state == "failed" for one in ends)
    found = write_table(plan)
    if as_json:
        print_json(found.as_json())
    else:
        out.print(found.markdown(), markup=False)
    say(f"Table and mean curves are in {plan.folder}.")
    if failed:
        raise typer.Exit(1)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as exc:
        raise typer.BadParameter(f"{text!r} is no list of whole numbers such as 1,2", param_hint="--seeds") from exc
