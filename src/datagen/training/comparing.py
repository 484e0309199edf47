"""Trainings from one start beside each other: a report of all of them, with attempts of the first to read.

    compare_arms("out/train/demo/sft", {"RAPO": "out/train/demo/rl", "more SFT": "out/train/demo/control"})

The question of a demonstration like this is never whether a curve rises but whether it rises more than what the same
compute buys elsewhere. So the start is an arm like the others, and differences are taken question by question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from datagen.training.describing import report_of_run
from datagen.training.report import write_report

START = "start"


def compare_arms(start: Path | str, arms: Mapping[str, Path | str]) -> Path:
    """Write the report of the first arm, with the others and the start as arms; returns the page."""
    first = next(iter(arms))
    folder = Path(arms[first]) / "comparison"
    report = report_of_run(arms[first], arms={**arms, START: start})
    write_report(folder, replace(report, start=START))
    return folder / "report.html"
