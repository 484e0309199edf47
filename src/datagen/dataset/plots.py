"""Plots of a release as PNG: the funnel, the shape of questions, how candidates shrink, what evidence is made of.

Colours are a colour-blind-safe pair with one accent; every axis says what it counts. Files carry no timestamps, so equal
statistics give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datagen.dataset.statistics import FunnelRow

BLUE, ORANGE, GREY = "#2b6cb0", "#dd7e31", "#9aa5b1"
DPI = 150


def draw_plots(statistics: Mapping[str, Any], funnel: Sequence[FunnelRow], folder: Path) -> list[Path]:
    """Write all plots into `folder`; returns the paths in the order the card shows them."""
    import matplotlib as mpl

    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_funnel_plot(funnel, folder / "funnel.png")]
    if statistics["rows"]:
        paths.append(_shape_plot(statistics, folder / "shape.png"))
        paths.append(_shrink_plot(statistics, folder / "candidates.png"))
        paths.append(_sources_plot(statistics, folder / "sources.png"))
    return paths


def _save(figure: Any, path: Path) -> Path:
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    import matplotlib.pyplot as plt

    plt.close(figure)
    return path


def _funnel_plot(funnel: Sequence[FunnelRow], path: Path) -> Path:
    import matplotlib.pyplot as plt

    recipes = sorted({row.recipe for row in funnel}) or ["(no candidates)"]
    figure, axes = plt.subplots(1, len(recipes), figsize=(6.2 * len(recipes), 4.2), squeeze=False)
    for axis, recipe in zip(axes[0], recipes, strict=True):
        rows = [row for row in funnel if row.recipe == recipe][::-1]
        names = [row.gate for row in rows]
        entered = [row.entered for row in rows]
        axis.barh(names, entered, color=[ORANGE if n == "accepted" else BLUE for n in names], height=0.72)
        axis.barh(
            names, [-0.0 + r.stopped for r in rows], left=[r.entered - r.stopped for r in rows], color=GREY, height=0.72
        )
        for index, row in enumerate(rows):
            note = f"{row.entered:,}" + (f"  (-{row.stopped:,})" if row.stopped else "")
            axis.text(row.entered, index, f" {note}", va="center", fontsize=8)
        axis.set_title(f"{recipe}: candidates entering each gate", fontsize=10, loc="left")
        axis.set_xlabel("candidates (grey: stopped here)")
        axis.margins(x=0.2)
    figure.tight_layout()
    return _save(figure, path)


def _bars(axis: Any, counts: Mapping[str, int], title: str, xlabel: str) -> None:
    axis.bar(list(counts), list(counts.values()), color=BLUE, width=0.8)
    axis.set_title(title, fontsize=10, loc="left")
    axis.set_xlabel(xlabel)
    axis.set_ylabel("questions")


def _shape_plot(statistics: Mapping[str, Any], path: Path) -> Path:
    import matplotlib.pyplot as plt

    histograms = statistics["histograms"]
    panels = (
        ("vertices", "Tree vertices", "vertices"),
        ("depth", "Tree depth", "edges on the longest path"),
        ("minimal_subset_size", "Smallest identifying subset", "clues"),
        ("min_documents", "Fewest pages that verify it", "pages"),
    )
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.4))
    for axis, (key, title, xlabel) in zip(axes, panels, strict=True):
        _bars(axis, histograms[key], title, xlabel)
    figure.tight_layout()
    return _save(figure, path)


def _shrink_plot(statistics: Mapping[str, Any], path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.6))
    sizes = [None if s == float("inf") else s for s in statistics["median_sizes"]]
    top = max((s for s in sizes if s is not None), default=1.0)
    names = [str(index + 1) for index in range(len(sizes))]
    left.bar(names, [top if s is None else s for s in sizes], color=[GREY if s is None else BLUE for s in sizes])
    for index, size in enumerate(sizes):
        label = "unbounded" if size is None else f"{size:,.0f}"
        left.text(index, top if size is None else size, label, ha="center", va="bottom", fontsize=9)
    left.set_title("Candidates left after each clue of the root (median)", fontsize=10, loc="left")
    left.set_xlabel("clues of the root taken, in order")
    left.set_ylabel("entities that could match")
    left.yaxis.get_major_locator().set_params(integer=True)
    left.margins(y=0.12)
    counts = statistics["without_one_clue"]
    right.bar(list(counts), list(counts.values()), color=BLUE)
    right.set_title("What each clue is needed for: candidates without it", fontsize=10, loc="left")
    right.set_xlabel("entities that could match if this clue alone were missing")
    right.set_ylabel("clues")
    figure.tight_layout()
    return _save(figure, path)


def _sources_plot(statistics: Mapping[str, Any], path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.8))
    for axis, key, title in ((left, "source_kinds", "Evidence by kind of page"), (right, "hosts", "Evidence by host")):
        top = dict(list(statistics[key].items())[:14][::-1])
        axis.barh(list(top), list(top.values()), color=BLUE, height=0.72)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("clues evidenced")
    figure.tight_layout()
    return _save(figure, path)
