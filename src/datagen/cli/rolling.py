"""Verbs on attempts: rollout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datagen.cli.console import err, out, print_json, print_table, say

if TYPE_CHECKING:
    from datagen.config import DatagenConfig
    from datagen.pipeline.rollout_plan import RolloutPlan
    from datagen.pipeline.rollout_report import RolloutReport


def rollout(
    source: Annotated[Path, typer.Argument(help="A finished run directory, or a release folder.")],
    *,
    config: Annotated[
        str | None, typer.Option("--config", help="A config; a run's own where left out. A release needs one.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--out", help="Where the attempts go; SOURCE/rollouts for a run.")
    ] = None,
    policies: Annotated[
        list[str] | None,
        typer.Option("--policy", help="Who attempts: topdown, bottomup, hasty, or a model of the cast. Repeatable."),
    ] = None,
    attempts: Annotated[int | None, typer.Option("--attempts", "-k", help="Tries of every policy.")] = None,
    questions: Annotated[int | None, typer.Option("--questions", "-n", help="Only so many questions.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Shards in flight.")] = None,
    budget_usd: Annotated[float | None, typer.Option("--budget-usd", help="Stop before this sum is passed.")] = None,
    overlays: Annotated[list[str] | None, typer.Option("--set", help="section.key=value over the config.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Attempt every question through the tools, grade the attempts, and pair better with worse ones.

    Attempts that are on disk are not made again, so the same command goes on after an interruption.
    """
    from datagen.pipeline.rollout_plan import plan_rollouts
    from datagen.pipeline.rollout_report import report_rollouts

    flags = {
        "rollouts.policies": policies,
        "rollouts.attempts": attempts,
        "rollouts.questions": questions,
        "run.workers": workers,
        "cast.budget_usd": budget_usd,
    }
    given = [f"{key}={value}" for key, value in flags.items() if value is not None and value != []]
    resolved = _config(source, config, [*(overlays or ()), *given])
    plan = plan_rollouts(str(source), resolved, str(directory or source / "rollouts"))
    carry_on_attempts(plan)
    found = report_rollouts(plan.directory)
    if as_json:
        print_json(found.to_dict())
    else:
        print_rollouts(found)


def agreement(
    rollouts: Annotated[Path, typer.Argument(help="A rollout directory.")],
    *,
    labeller: Annotated[str, typer.Option("--labeller", help="A model of the cast.")],
    attempts: Annotated[int, typer.Option("--attempts", "-n", help="So many attempts, spread over all.")] = 100,
    overlays: Annotated[list[str] | None, typer.Option("--set", help="section.key=value over the config.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Let a model label the calls of some attempts, and compare with the labels by rules."""
    from datagen.pipeline.labelling import compare_labellers
    from datagen.rollouts.agreement import LABELS

    found = compare_labellers(str(rollouts), labeller, attempts, overlays or ())
    table = found.agreement
    if as_json:
        counts = {f"{a} {b}": n for (a, b), n in sorted(table.table.items())}
        print_json({"calls": table.calls, "observed": table.observed, "kappa": table.kappa, "table": counts})
        return
    print_table(("rules", *(f"{labeller}: {name}" for name in LABELS), "sum", "both of either"), table.rows())
    out.print(
        f"\n{table.calls:,} calls of {found.attempts:,} attempts: {_said(table.observed)} equal, kappa {_said(table.kappa)}; "
        f"{found.failed:,} attempts had no usable labels",
        markup=False,
    )


def _config(source: Path, config: str | None, overlays: list[str]) -> DatagenConfig:
    from datagen.config import load_config, overlay_config
    from datagen.errors import ConfigError
    from datagen.runs.directory import CONFIG_NAME, open_run

    if config is not None:
        return load_config(config, overlays)
    if not (source / CONFIG_NAME).exists():
        raise ConfigError(
            f"{source} is no run directory, so its config is not known: give one with --config, such as a preset that names "
            "the snapshot (web.snapshot)."
        )
    return overlay_config(open_run(str(source)).config, overlays)


def carry_on_attempts(plan: RolloutPlan) -> None:
    """Make what is missing, with a line now and then."""
    from datagen.pipeline.rolling import carry_on_rollouts, missing_blocks
    from datagen.runs.workers import ShardReport, pool_of

    section = plan.config.run
    left = len(missing_blocks(plan))
    say(f"{plan.attempts:,} attempts at {plan.total:,} questions; {left:,} of {len(plan.blocks()):,} shards to make")
    done = 0

    def watch(report: ShardReport) -> None:
        nonlocal done
        done += 1
        if not err.is_terminal and done % max(1, left // 10):
            return
        rest = ", ".join(f"{count:,} {outcome}" for outcome, count in report.rejected)
        say(
            f"shard {done:,} of {left:,}: {report.accepted:,} verified{', ' if rest else ''}{rest} in {report.seconds:.1f} s"
        )

    with pool_of(section.runner, min(section.workers, max(1, left))) as pool:
        carry_on_rollouts(plan, pool=pool, watch=watch)


def print_rollouts(report: RolloutReport) -> None:
    """One line for each policy, and the pairs."""
    rows = [
        (
            p.policy, p.attempts, p.errored, p.correct, p.verified, p.shortcuts, _said(p.clues_evidenced),
            _said(p.calls), _said(p.calls_per_success), _said(p.turns), _said(p.rewards.get("fathom_steps")),
        )
        for p in report.policies
    ]  # fmt: skip
    print_table(
        (
            "policy", "attempts", "errored", "correct", "verified", "shortcuts", "clues evidenced",
            "calls", "calls per success", "turns", "step reward",
        ),
        rows,
        title="Attempts",
    )  # fmt: skip
    pairs = ", ".join(f"{count:,} {rule}" for rule, count in report.pairs.items()) or "none"
    out.print(f"\npairs     {pairs}", markup=False)
    if report.paid is not None:
        money = "not priced" if report.paid.unpriced_calls else f"USD {report.paid.known_cost_usd:,.6g}"
        out.print(f"paid      {report.paid.calls + report.paid.judge_calls:,} calls once each, {money}", markup=False)
    out.print(f"rollouts  {report.directory}", markup=False)


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
