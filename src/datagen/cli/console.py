"""What a person sees: messages and progress on stderr, tables and data on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from datagen.dataset.statistics import FunnelRow
    from datagen.pipeline.finishing import RunReport
    from datagen.runs.settlement import Settlement
    from datagen.runs.shards import Row
    from datagen.runs.workers import ShardReport

PIPE_WIDTH = 200
"""Columns of a table that goes to a file or another program, which has no width of its own."""

# Both obey NO_COLOR, and write plain text where the stream is not a terminal.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(fault: Exception, code: int) -> int:
    """Say what went wrong; returns the exit code."""
    err.print(f"error: {fault}", style="red", markup=False)
    return code


def say(text: str) -> None:
    err.print(text, markup=False)


def print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    out.print(table)


def print_funnel(funnel: Sequence[FunnelRow]) -> None:
    rows = [
        (step.recipe, step.gate, step.entered, step.stopped, ", ".join(f"{r} {n:,}" for r, n in step.reasons.items()))
        for step in funnel
    ]
    print_table(("recipe", "gate", "candidates", "stopped", "reasons"), rows, title="Funnel")


def print_questions(rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows, start=1):
        out.print(f"\n{number}. {row['question']}", markup=False)
        out.print(f"   {row['answer']}  ({row['recipe']}, {row['id']})", style="green", markup=False)


def print_report(report: RunReport) -> None:
    """The funnel and a few questions."""
    print_funnel(report.funnel)
    print_questions(report.samples)
    accepted = ", ".join(
        f"{count:,} of {report.target[recipe]:,} {recipe}" for recipe, count in report.accepted.items()
    )
    out.print(f"\naccepted  {accepted}", markup=False)
    for line in _figures(report):
        out.print(line, markup=False)
    if report.release is not None:
        out.print(f"release   {report.release}", markup=False)


def _figures(report: RunReport) -> Iterator[str]:
    """Lines on proofs, guesses and spend; a line without anything to say is left out."""
    if report.certified["uncertified"]:
        yield f"proofs    {report.certified['certified']:,} certified, {report.certified['uncertified']:,} by rival search"
    book = report.closed_book
    if book["before"] is not None:
        left = f"; of {book['audit_samples']:,} guesses on accepted ones {book['audit_hits']:,}"
        yield f"guessed   {book['hit']:,} of {book['reached']:,} candidates without search{left if book['audit_samples'] else ''}"
    total, each = report.spending["total"], report.spending["per_accepted"]
    if total["calls"] or total["judge_calls"]:
        for name, prefix in (("models", ""), ("judge", "judge_")):
            yield f"{name:<10}{_spent(total, prefix)}; per accepted question {_spent(each, prefix)}"
    if report.paid is not None:
        paid = report.paid
        money = "not priced" if paid.unpriced_calls else f"USD {paid.known_cost_usd:,.6g}"
        yield f"paid      {paid.calls + paid.judge_calls:,} calls once each, {money}"


def _spent(figures: Mapping[str, float | None], prefix: str) -> str:
    def said(key: str) -> str:
        value = figures[prefix + key]
        return "not measured" if value is None else f"{value:,.6g}"

    return f"{said('calls')} calls, {said('input_tokens')} + {said('output_tokens')} tokens, USD {said('cost_usd')}"


class ProgressBar:
    """Accepted questions with rate, time left, and money where models are paid. Without a terminal: one line per wave."""

    def __init__(self, spent: Callable[[], float | None] = lambda: None) -> None:
        """`spent` says how many dollars the run has cost so far, None where nobody is paid or a price is unknown."""
        self._spent = spent
        self._started = time.monotonic()
        self._first: int | None = None
        self._accepted = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeElapsedColumn(),
            console=err,
            disable=not err.is_terminal,
        )
        self._task = self._bar.add_task("questions", total=None, pace="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def standing(self, settlement: Settlement) -> None:
        accepted, target = sum(settlement.accepted.values()), sum(settlement.target.values())
        self._show(accepted, target)
        if settlement.settled and not err.is_terminal:
            made = f"{settlement.settled:,} candidates"
            say(f"{accepted:,} of {target:,} accepted after {made}, {self._pace(target)}")

    def shard_finished(self, report: ShardReport) -> None:
        self._show(self._accepted + report.accepted, None)

    def _show(self, accepted: int, target: int | None) -> None:
        if self._first is None:
            self._first = accepted  # what an earlier attempt made says nothing about this one's pace
        self._accepted = accepted
        total = target if target is not None else self._bar.tasks[0].total
        self._bar.update(self._task, completed=accepted, total=total, pace=self._pace(int(total or 0)))

    def _pace(self, target: int) -> str:
        made, seconds = self._accepted - (self._first or 0), time.monotonic() - self._started
        if made <= 0:
            return "no rate yet"
        rate = made / seconds
        pace = f"{rate:.1f}/s, {_clock(max(0, target - self._accepted) / rate)} left"
        spent = self._spent()
        if spent is None:
            return pace
        return f"{pace}, ${spent:.4f} of about ${spent / self._accepted * max(target, self._accepted):.4f} spent"


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for (done, all) on a terminal; silent elsewhere."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def as_plain(value: Any) -> Any:
    """Dataclasses as dictionaries, for `--json`."""
    from dataclasses import asdict, is_dataclass

    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
