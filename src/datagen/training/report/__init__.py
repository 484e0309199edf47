"""The report of a run: one HTML page that needs no network, and its curves as PNG.

    write_report("out/train", Report(title="RAPO on a synthetic web", weakened_start="...", settings=..., samples=...))

    out/train/report.html
    out/train/curves/*.png

The first line of the page is the result, and beside it whatever would make it look better than it is.
"""

from datagen.training.report.comparisons import Comparison, Measured, compare, comparisons, headline, latest
from datagen.training.report.contents import Arm, Report, Sample, choose_samples, read_arms
from datagen.training.report.page import render_report, write_report

__all__ = [
    "Arm",
    "Comparison",
    "Measured",
    "Report",
    "Sample",
    "choose_samples",
    "compare",
    "comparisons",
    "headline",
    "latest",
    "read_arms",
    "render_report",
    "write_report",
]
