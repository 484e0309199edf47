"""The page: what was recorded, as tables, curves and attempts to read.

Questions, answers and pages are data from outside: they enter the page escaped, and the page has no script.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from datagen.dataset.attempt_views import event_view
from datagen.storage import write_atomic
from datagen.training.monitors import OTHER_RULES, RULES
from datagen.training.recording.metrics import METRICS
from datagen.training.report.comparisons import (
    Comparison,
    Measured,
    comparisons,
    headline,
    latest,
    p_value,
    percent,
    result_of,
)
from datagen.training.report.contents import Arm, Report, Sample, choose_samples, read_arms
from datagen.training.report.curves import SUCCESS, Curve, draw_curves

REPORT_FILE = "report.html"
CURVES_FOLDER = "curves"
MODE_ORDER = ("greedy", "sampled", "no_search")


def write_report(folder: Path | str, report: Report | None = None) -> Path:
    """Write the page and the PNG curves into the folder of a run; returns the path of the page.

    Reads the run's files, or those of `report.arms`. A run that recorded nothing gets a page that says so.
    """
    said = report or Report()
    arms = read_arms(folder, said)
    curves = draw_curves(arms)
    for curve in curves:
        write_atomic(Path(folder, CURVES_FOLDER, f"{curve.name}.png"), curve.png)
    page = Path(folder, REPORT_FILE)
    write_atomic(page, render_report(said, arms, curves).encode())
    return page


def render_report(report: Report, arms: Sequence[Arm], curves: Sequence[Curve]) -> str:
    """HTML text of the page."""
    measured = latest(arms)
    compared = comparisons(measured)
    template = (files("datagen.training") / "templates" / "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True
    )
    drawn = {name for arm in arms for line in arm.lines for name in line.values}
    return environment.from_string(template).render(
        report=report,
        headline=_unbroken(report.headline or headline(measured)),
        tiles=_tiles(arms, measured),
        sets=_sets(measured, compared),
        wide=[curve for curve in curves if curve.title.startswith(SUCCESS)],
        panels=[curve for curve in curves if not curve.title.startswith(SUCCESS)],
        arms=_arms(arms) if len(arms) > 1 else None,
        alarms=[
            {"arm": arm.name if len(arms) > 1 else "", "rule": alarm.rule, "sentence": alarm.sentence}
            for arm in arms
            for alarm in arm.alarms
        ],
        rules=len(RULES) + len(OTHER_RULES),
        speed=_speed(arms),
        samples=[_sample(sample) for sample in choose_samples(report.samples)],
        settings=list(flat(report.settings)),
        lineage=list(flat(report.lineage)),
        metrics=[metric for name, metric in METRICS.items() if name in drawn],
    )


def _unbroken(sentence: str) -> str:
    """Figures stay on one line with their signs."""
    return re.sub(r" (?=%)|(?<=\bp) (?=[<=])|(?<=p.[<=]) ", "\u00a0", sentence)


def _tiles(arms: Sequence[Arm], measured: Sequence[Measured]) -> list[tuple[str, str]]:
    """(figure, what it is) of the first arm and the first set."""
    tiles = []
    if measured:
        name = measured[0].record.set
        here = [one for one in measured if one.record.set == name and one.arm == measured[0].arm]
        for mode in MODE_ORDER:
            last = [one for one in here if one.record.mode == mode]
            if last:
                tiles.append((percent(last[-1].record.success), f"right, {last[-1].record.mode_name}"))
    first = arms[0]
    tiles.append((f"{first.updates:,}", "updates"))
    for metric, what in (("trained_tokens", "tokens trained on"), ("sampled_tokens", "tokens sampled")):
        total = first.total(metric)
        if total is not None:
            tiles.append((_short(total), what))
    tiles.append((str(sum(len(arm.alarms) for arm in arms)), "alarms"))
    return tiles


def _sets(measured: Sequence[Measured], compared: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Per set of questions: measurements by mode, and comparisons."""
    sets = []
    for name in dict.fromkeys(one.record.set for one in measured):
        here = [one for one in measured if one.record.set == name]
        modes = sorted(dict.fromkeys(one.record.mode for one in here), key=_mode_place)
        groups = list(dict.fromkeys(group for one in here for group in one.record.by_group))
        rows = [row for mode in modes for row in _rows([one for one in here if one.record.mode == mode], groups)]
        found = [one for one in compared if one.first.record.set == name]
        found.sort(key=lambda one: _mode_place(one.first.record.mode))
        sets.append({"name": name, "rows": rows, "groups": groups, "comparisons": [_against(one) for one in found]})
    return sets


def _mode_place(mode: str) -> int:
    return MODE_ORDER.index(mode) if mode in MODE_ORDER else len(MODE_ORDER)


def _rows(measured: Sequence[Measured], groups: Sequence[str]) -> Iterator[dict[str, Any]]:
    result = result_of(measured)
    for place, one in enumerate(measured):
        record, interval = one.record, one.record.interval()
        yield {
            "policy": one.name,
            "place": f"{record.phase}, update {record.step:,}" if record.phase else "",
            "mode": record.mode_name,
            "starts": place == 0,
            "result": one is result and len(measured) > 1,
            "counts": f"{record.right:,} of {record.n:,}",
            "questions": len(record.per_question) or record.n,
            "failures": record.failures,
            "success": percent(record.success),
            "interval": interval,
            "ends": "" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}",
            "calls": [_figure(record.searches), _figure(record.visits), _figure(record.tokens)],
            "groups": [_share(record.by_group.get(group)) for group in groups],
        }


def _share(counts: tuple[int, int] | None) -> str:
    return f"{percent(counts[0] / counts[1])} of {counts[1]:,}" if counts and counts[1] else ""


def _against(one: Comparison) -> dict[str, str]:
    shift = one.difference
    return {
        "second": one.second.name,
        "first": one.first.name,
        "mode": one.first.record.mode_name,
        "n": f"{one.n:,}",
        "difference": f"{100 * shift.value:+.1f}".replace("-", "−"),
        "ends": f"{100 * shift.low:+.1f} to {100 * shift.high:+.1f}".replace("-", "−"),
        "test": one.test,
        "p": p_value(one.p).removeprefix("p = ").removeprefix("p "),
    }


ARM_ROWS = (
    ("success", "right on training questions, last"),
    ("reward", "reward, last"),
    ("entropy", "entropy, last, nats"),
    ("zero_variance", "groups without a gradient, mean share"),
    ("carrying", "attempts that carry a gradient, mean per update"),
    ("tokens_per_rollout", "tokens per attempt, mean"),
    ("tool_calls", "tool calls per attempt, last"),
)
SPEED_ROWS = (
    ("forwarded_tokens", "total", "tokens learnt from"),
    ("trained_tokens", "total", "of them trained on"),
    ("sampled_tokens", "total", "tokens sampled"),
    ("tokens_per_s", "mean", "tokens learnt from per second"),
    ("sampled_tokens_per_s", "mean", "tokens sampled per second"),
    ("learning_s", "clock", "learning, seconds"),
    ("sampling_s", "clock", "sampling, seconds"),
    ("sync_s", "clock", "new weights to the sampler, seconds"),
    ("waiting", "share", "waiting for attempts"),
    ("memory_mb", "mean", "memory of the learner, MB"),
)


def _arms(arms: Sequence[Arm]) -> dict[str, Any]:
    """A column per arm; a row that no arm measured is left out."""
    rows = [("updates", [f"{arm.updates:,}" for arm in arms])]
    for metric, title in ARM_ROWS:
        if title.endswith(("last", "last, nats")):
            values = [_last(arm, metric) for arm in arms]
        else:
            values = [arm.mean(metric) for arm in arms]
        if any(value is not None for value in values):
            rows.append((title, [_figure(value) for value in values]))
    rows.append(("alarms", [str(len(arm.alarms)) for arm in arms]))
    return {"names": [arm.name for arm in arms], "rows": rows}


def _speed(arms: Sequence[Arm]) -> dict[str, Any]:
    """Throughput and waiting, a column per arm."""
    rows = []
    for metric, how, title in SPEED_ROWS:
        values = [arm.total(metric) if how in ("total", "clock") else arm.mean(metric) for arm in arms]
        if all(value is None for value in values):
            continue
        form = percent if how == "share" else _whole if how == "total" else _figure
        rows.append((title, [form(value) for value in values]))
    return {"names": [arm.name for arm in arms], "rows": rows}


def _last(arm: Arm, metric: str) -> float | None:
    """Mean of the last five values: one update is noisy."""
    known = [value for part in arm.series(metric).values() for _, value in part][-5:]
    return sum(known) / len(known) if known else None


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "question": sample.question,
        "expected": sample.expected,
        "answer": sample.transcript.answer or "no answer",
        "correct": sample.correct,
        "verdict": {True: "right", False: "wrong", None: "not graded"}[sample.correct],
        "policy": sample.policy,
        "termination": sample.transcript.termination,
        "reward": sample.reward,
        "events": [event_view(asdict(event)) for event in sample.transcript.events],
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, value in words) of nested settings."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{prefix}{key}", "none" if value in (None, {}) else str(value)


def _figure(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _whole(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f}"


def _short(value: float) -> str:
    """As in 1.2 M."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"
