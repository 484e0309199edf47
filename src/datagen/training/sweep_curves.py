"""Curves of a sweep: for every arm the mean over its seeds, with a band of 95 %, over the attempts that were sampled.

Runs measure themselves after different numbers of attempts, as their updates take more or fewer. Each is read off at the
same places by straight lines between its measurements, and what is drawn is the mean of those.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from datagen.training.intervals import student_quantile
from datagen.training.recording.metrics import METRICS
from datagen.training.report.curves import COLOURS, DPI, STYLE
from datagen.training.sweep_figures import CURVES, Points, RunFigures, measured_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datagen.training.sweep_table import SweepTable

PLACES = 60
"""Points of a drawn curve."""
SMOOTHED = 0.1
"""Share of the attempts that a figure of training is averaged over, for batches differ."""
SIZE = (10.0, 6.4)


def draw_sweep(table: SweepTable) -> bytes:
    """Held-out success and three figures of training, as a PNG. Equal figures give equal bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        panels = figure.subplots(2, 2).flat
        _panel(next(panels), table, lambda run: run.success("greedy"), 100.0, smooth=False)
        figure.axes[0].set_title(f"Right answers on {measured_set(table.plan)}, greedy, %")
        for axis, name in zip(panels, CURVES[table.plan.sweep.table], strict=True):
            _panel(axis, table, _metric(name), 1.0, smooth=True)
            axis.set_title(f"{name}{f', {METRICS[name].unit}' if METRICS[name].unit else ''}")
        lines, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=min(6, max(1, len(names))))
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return png.getvalue()


def _metric(name: str) -> Callable[[RunFigures], Points]:
    return lambda run: run.curve(name)


def _panel(axis: Any, table: SweepTable, points: Callable[[RunFigures], Points], scale: float, *, smooth: bool) -> None:
    budget = table.plan.sweep.attempts
    for place, arm in enumerate(table.arms):
        found = [points(run) for run in table.runs if run.arm == arm]
        curves = [curve for curve in found if curve]
        colour = COLOURS[place % len(COLOURS)]
        label = f"{arm} ({len(found)})"
        if not curves:
            continue
        at, middle, half = mean_curve(curves, budget, SMOOTHED * budget if smooth else 0.0)
        axis.plot(at, scale * middle, color=colour, label=label, lw=1.6)
        if len(curves) > 1:
            axis.fill_between(at, scale * (middle - half), scale * (middle + half), color=colour, alpha=0.14, lw=0)
    axis.set_xlabel("sampled attempts")


def mean_curve(
    curves: Sequence[Points], budget: float, window: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(attempts, mean, half the width of Student's 95 % interval) from where all begin to where the first one ends.

    `window`: attempts around a place over which a curve is averaged first.
    """
    first = max(curve[0][0] for curve in curves)
    last = max(first, min(float(budget), *(curve[-1][0] for curve in curves)))
    at = np.linspace(first, last, PLACES)
    read = np.array([np.interp(at, *_smoothed(curve, window)) for curve in curves])
    count = len(curves)
    spread = read.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else np.zeros(PLACES)
    quantile = student_quantile(0.975, count - 1) if count > 1 else 0.0
    return at, read.mean(axis=0), quantile * spread


def _smoothed(curve: Points, window: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    at, values = (np.array(part, dtype=np.float64) for part in zip(*curve, strict=True))
    if not window:
        return at, values
    return at, np.array([values[np.abs(at - x) <= window / 2].mean() for x in at])
