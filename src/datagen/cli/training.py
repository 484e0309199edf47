"""Verbs on policies: train, evaluate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datagen.cli.console import out, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from datagen.training.recording.evaluations import EvaluationRecord

TRAIN_EPILOG = (
    "A killed training goes on with --resume. Curves are in DIRECTORY/metrics.jsonl and TensorBoard, the policy in "
    "DIRECTORY/model; let it play with --set 'cast.checkpoints.NAME.path=\"DIRECTORY/model\"'."
)
EVALUATE_EPILOG = (
    "Intervals are Wilson's for one attempt per question, Student's over questions for several. What is right without "
    "search was guessed: read the other rows against it."
)


class EvaluationMode(StrEnum):
    """How questions are attempted."""

    GREEDY = "greedy"
    SAMPLED = "sampled"
    NO_SEARCH = "no_search"


def train(
    config: Annotated[
        str,
        typer.Argument(
            help="A TOML file that has a section on training, or a preset: train_demo, train_one_gpu, train_qwen3_4b.",
        ),
    ],
    *,
    overlays: Annotated[
        list[str] | None, typer.Option("--set", help="Lay section.key=value over the file; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was begun.")] = False,
    directory: Annotated[Path | None, typer.Option("--out", help="Overrides training.directory.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    report: Annotated[bool, typer.Option(help="Draw the curves and write report.html at the end.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")] = False,
) -> None:
    """Train a policy: imitate attempts, prefer better ones, and improve by attempts of its own."""
    from datagen.config import load_config
    from datagen.training.running import train as run_training

    given = [] if directory is None else [f'training.directory="{directory}"']
    done = run_training(load_config(config, [*(overlays or ()), *given]), resume=resume, quiet=quiet, report=report)
    if not done.leads:
        return
    if as_json:
        print_json(
            {"directory": str(done.directory), "model": str(done.model), "evaluations": _lines(done.evaluations)}
        )
        return
    print_evaluations(done.evaluations)
    say(f"The policy is in {done.model}; curves and figures are in {done.directory}.")


def evaluate(
    policy: Annotated[Path, typer.Argument(help="A policy's folder, or the directory of a training.")],
    *,
    snapshot: Annotated[Path, typer.Option("--on", help="The snapshot that is searched.")],
    questions: Annotated[
        list[str], typer.Option("--questions", help="A release folder, or a file with questions. Repeatable.")
    ],
    split: Annotated[str, typer.Option(help="The split of releases.")] = "test",
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="Only so many, the first.")] = None,
    modes: Annotated[
        list[EvaluationMode] | None, typer.Option("--mode", help="All three where left out. Repeatable.")
    ] = None,
    attempts: Annotated[int, typer.Option("--attempts", "-k", min=1, help="At each question, when sampled.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of sampling.")] = 7,
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="What an attempt may spend, as training.rl.sampling has it: turns=8, searches=4. Repeatable."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help='Such as "cpu" or "cuda:0".')] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout, question by question.")] = False,
) -> None:
    """Measure a policy on questions: greedily, at a temperature of 1, and without search."""
    from datagen.config.reinforcement import sampling_from
    from datagen.training.examining import ExamPlan, examine

    chosen = tuple(mode.value for mode in modes or EvaluationMode)
    plan = ExamPlan(
        snapshot=str(snapshot),
        questions=tuple(questions),
        split=split,
        count=count,
        modes=chosen,  # type: ignore[arg-type]  # the values of the enumeration are the modes
        attempts=attempts,
        seed=seed,
        sampling=sampling_from(limits or ()),
        device=device,
    )
    records = examine(policy, plan)
    if as_json:
        print_json(_lines(records))
        return
    print_evaluations(records)


def print_evaluations(records: Sequence[EvaluationRecord]) -> None:
    """A line for each set and mode, with 95 % intervals."""
    from datagen.training.evaluating import COLUMNS, comparison_rows

    print_table(COLUMNS, comparison_rows(records))
    failed = sum(record.failures for record in records)
    if failed:
        out.print(f"\n{failed:,} attempts broke through no fault of the policy; they are in no figure.", markup=False)


def _lines(records: Sequence[EvaluationRecord]) -> list[object]:
    return [record.to_line() for record in records]
