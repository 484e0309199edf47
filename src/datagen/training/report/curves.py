"""Curves of one or several runs, as PNG files for anywhere and as SVG that takes the colours of the page around it.

One run: its metrics have colours. Several: the runs have colours, and metrics of one plot are told apart by their dashes; where
they made very different numbers of updates, each goes over its own from 0 to 100 %. What
is drawn thin is as measured; the thick line over it is its running mean within the phase. Dotted verticals part phases, and a triangle on the axis is
an alarm. Files carry no time, so equal figures give equal bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from datagen.training.monitors import RULES
from datagen.training.recording.metrics import METRICS, PANELS, Panel
from datagen.training.report.contents import Arm

COLOURS = ("#2b6cb0", "#dd7e31", "#2f855a", "#8b5cc7", "#c2416b", "#64748b")
INK, SOFT, GRID, WARN = "#1a202c", "#5a6779", "#dfe5ed", "#b45309"
THEME = {colour: f"var(--c{place})" for place, colour in enumerate(COLOURS, start=1)} | {
    INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--line)", WARN: "var(--warm)"
}  # fmt: skip
"""What colours of a plot become inside the page, which has a light and a dark set of them."""
DASHES = ((), (4.0, 2.0), (1.0, 1.6), (6.0, 2.0, 1.0, 2.0))
"""Lengths of dashes and gaps, in widths of the line; empty for a whole line."""
POINTS = 600
"""Points of one line at most; more are drawn as means of neighbours."""
SMOOTHED = 40
"""Lines of so many points get a running mean, if they are rough."""
ROUGH = 0.02
"""Mean change of slope from point to point, as a share of the range, from which a line is rough."""
SUCCESS = "Success on "
"""Titles of curves of held-out success begin so."""
SIZE, WIDE = (4.2, 2.35), (10.0, 3.4)
MARGINS = {"left": 0.62, "right": 0.12, "bottom": 0.46, "top": 0.1}
"""Inches around a plot, the same for all, so that the axes of neighbours stand in line."""
DECADE = 10
"""Figures over less than that have no two ticks on a logarithmic axis."""
DPI = 150
UNLIKE = 1.5
"""Runs whose updates differ by more than this factor have no common axis of updates: a batch of attempts is not one of rows."""
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": SOFT,
    "axes.linewidth": 0.7, "axes.labelcolor": SOFT, "axes.grid": True, "axes.grid.axis": "y", "grid.color": GRID, "grid.linewidth": 0.8,
    "axes.axisbelow": True, "axes.xmargin": 0.02, "xtick.color": SOFT, "ytick.color": SOFT, "xtick.major.size": 3, "ytick.major.size": 0,
    "xtick.major.width": 0.7, "ytick.minor.size": 0, "text.color": INK, "legend.frameon": False, "legend.fontsize": 8.5,
    "svg.fonttype": "none", "text.parse_math": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend."""

    label: str
    colour: str
    dash: tuple[float, ...] = ()

    @property
    def themed(self) -> str:
        """The colour as the page has it."""
        return THEME[self.colour]


@dataclass(frozen=True, slots=True)
class Curve:
    """One plot in both forms."""

    name: str
    """Of the file, without its ending."""
    title: str
    note: str
    """What the metrics mean."""
    keys: tuple[Key, ...]
    """The legend, which the page sets beside the SVG; the PNG has it inside."""
    png: bytes
    svg: str


@dataclass(frozen=True, slots=True)
class Ruler:
    """The axis along which the runs of a plot go."""

    label: str
    steps: tuple[float, ...]
    """Of each run: how far one update goes."""
    shares: bool = False
    """Whether every run goes from 0 to 100."""

    @classmethod
    def of(cls, arms: Sequence[Arm]) -> Ruler:
        made = [arm.updates for arm in arms if arm.updates]
        if not made or max(made) <= UNLIKE * min(made):
            return cls("updates", (1.0,) * len(arms))
        return cls("share of the run's own updates, %", tuple(100 / max(1, arm.updates) for arm in arms), shares=True)


def draw_curves(arms: Sequence[Arm]) -> list[Curve]:
    """Held-out success first, then all panels that have a figure in any arm, then metrics that `METRICS` does not know."""
    found = [_success(arms, name) for name in dict.fromkeys(r.set for arm in arms for r in arm.evaluations if r.n)]
    recorded = dict.fromkeys(name for arm in arms for line in arm.lines for name in line.values)
    own: dict[str, tuple[str, ...]] = {}
    for name in recorded:
        if name not in METRICS:  # a caller's own; those with one word before a slash share a plot
            own[name.split("/")[0]] = (*own.get(name.split("/")[0], ()), name)
    for panel in (*PANELS, *(Panel(title, names) for title, names in own.items())):
        names = [name for name in panel.metrics if any(_points(arm, name) for arm in arms)]
        if names:
            found.append(_panel(arms, panel, names))
    return found


def _success(arms: Sequence[Arm], name: str) -> Curve:
    modes = dict.fromkeys((r.mode, r.mode_name) for arm in arms for r in arm.evaluations if r.set == name)
    ruler = Ruler.of(arms)

    def fill(axis: Any) -> None:
        for place, (arm, wide) in enumerate(zip(arms, ruler.steps, strict=True)):
            offsets = arm.offsets
            for number, (mode, _) in enumerate(modes):
                measured = [(0.0, r) for r in arm.begun]
                measured += [(wide * (offsets[r.phase] + r.step), r) for r in arm.evaluations]
                here = [(x, r.interval()) for x, r in measured if (r.set, r.mode) == (name, mode)]
                ends = {x: found for x, found in here if found is not None}
                at = sorted(ends)
                colour, dash = _look(place, number, len(arms))
                middle, low, high = ([100 * getattr(ends[x], end) for x in at] for end in ("value", "low", "high"))
                axis.plot(at, middle, color=colour, dashes=dash, marker="o", ms=3.5)
                axis.fill_between(at, low, high, color=colour, alpha=0.14, lw=0)
        axis.set_ylim(0, 100)
        axis.set_ylabel("right answers, %")
        _phases(axis, arms, ruler)

    note = "Share of right answers in the course of training; bands are 95 % intervals."
    keys = _keys(arms, [label for _, label in modes])
    return _drawn(f"{SUCCESS}{name}", note, fill, keys=keys, size=WIDE)


def _panel(arms: Sequence[Arm], panel: Panel, names: Sequence[str]) -> Curve:
    known = [METRICS[name] for name in names if name in METRICS]
    ruler = Ruler.of(arms)

    def fill(axis: Any) -> None:
        for place, (arm, wide) in enumerate(zip(arms, ruler.steps, strict=True)):
            for number, metric in enumerate(names):
                for part in arm.series(metric).values():
                    _line(axis, [(wide * x, y) for x, y in part], *_look(place, number, len(arms)))
        if panel.log and 0 < DECADE * axis.dataLim.ymin < axis.dataLim.ymax:
            axis.set_yscale("log")
        elif {metric.unit for metric in known} == {"share"}:
            axis.set_ylim(bottom=0)
        axis.set_ylabel(" / ".join(dict.fromkeys(metric.unit for metric in known if metric.unit)))
        _phases(axis, arms, ruler)
        _alarms(axis, arms, names, ruler)

    note = " ".join(f"{metric.name}: {metric.meaning}" for metric in known)
    return _drawn(panel.title, note, fill, keys=_keys(arms, names))


def _points(arm: Arm, metric: str) -> bool:
    return any(math.isfinite(value) for part in arm.series(metric).values() for _, value in part)


def _line(axis: Any, part: Sequence[tuple[float, float]], colour: str, dash: tuple[float, ...]) -> None:
    at, values = _thinned(part)
    if len(at) >= SMOOTHED and _roughness(values) > ROUGH:
        axis.plot(at, values, color=colour, lw=0.7, alpha=0.35)
        axis.plot(at, _running_mean(values), color=colour, dashes=dash, lw=1.7)
    else:
        axis.plot(at, values, color=colour, dashes=dash, lw=1.6, marker="o" if len(at) < SMOOTHED // 2 else "", ms=2.5)


def _thinned(part: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """What is finite, at most `POINTS` of it: means of equally many neighbours."""
    known = [(x, y) for x, y in part if math.isfinite(y)]
    size = math.ceil(len(known) / POINTS) or 1
    parts = [known[start : start + size] for start in range(0, len(known), size)]
    return [sum(x for x, _ in p) / len(p) for p in parts], [sum(y for _, y in p) / len(p) for p in parts]


def _roughness(values: Sequence[float]) -> float:
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    width = max(values) - min(values)
    return sum(bends) / len(bends) / width if width else 0.0


def _running_mean(values: Sequence[float]) -> list[float]:
    """Mean of a window of a fifteenth of the line, shorter at the ends."""
    reach = max(2, len(values) // 30)
    windows = [values[max(0, place - reach) : place + reach + 1] for place in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _look(arm: int, metric: int, arms: int) -> tuple[str, tuple[float, ...]]:
    if arms == 1:
        return COLOURS[metric % len(COLOURS)], ()
    return COLOURS[arm % len(COLOURS)], DASHES[metric % len(DASHES)]


def _keys(arms: Sequence[Arm], metrics: Sequence[str]) -> tuple[Key, ...]:
    """None for a single line; colours for arms and dashes for metrics rather than an entry for each pair."""
    if len(arms) == 1:
        return tuple(Key(name, _look(0, n, 1)[0]) for n, name in enumerate(metrics)) if len(metrics) > 1 else ()
    dashes = [Key(name, SOFT, DASHES[n % len(DASHES)]) for n, name in enumerate(metrics)] if len(metrics) > 1 else []
    return (*(Key(arm.name, COLOURS[n % len(COLOURS)]) for n, arm in enumerate(arms)), *dashes)


def _phases(axis: Any, arms: Sequence[Arm], ruler: Ruler) -> None:
    """Names of the phases of the first arm, parted by dotted verticals, where the plot shows more than one."""
    from matplotlib.ticker import MaxNLocator

    low, high = axis.dataLim.x0, axis.dataLim.x1
    axis.set_xlabel(ruler.label)
    if ruler.shares:
        axis.set_xlim(-2, 102)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    starts = {phase: ruler.steps[0] * start for phase, start in arms[0].offsets.items()}
    ends = [*starts.values(), ruler.steps[0] * arms[0].updates][1:]
    shown = {
        phase: start for (phase, start), end in zip(starts.items(), ends, strict=True) if start < high and low < end
    }
    for phase, start in shown.items() if len(shown) > 1 else ():
        if start > low:
            axis.axvline(start, color=SOFT, lw=0.8, ls=(0, (1, 2)))
        axis.annotate(
            phase, (max(start, low), 1), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points", va="top",
            fontsize=8, color=SOFT,
        )  # fmt: skip


def _alarms(axis: Any, arms: Sequence[Arm], names: Sequence[str], ruler: Ruler) -> None:
    """Triangles on the axis where one of these metrics raised an alarm."""
    rules = {rule.name for rule in RULES if rule.metric in names}
    for arm, wide in zip(arms, ruler.steps, strict=True):
        offsets = arm.offsets
        at = [wide * (offsets.get(alarm.phase, 0) + alarm.step) for alarm in arm.alarms if alarm.rule in rules]
        axis.plot(
            at, [0] * len(at), ls="", marker="^", ms=7, color=WARN, transform=axis.get_xaxis_transform(), clip_on=False, zorder=5
        )  # fmt: skip


# --- from a figure to bytes -----------------------------------------------------------------------------------------


def _drawn(
    title: str,
    note: str,
    fill: Callable[[Any], None],
    *,
    keys: tuple[Key, ...],
    size: tuple[float, float] = SIZE,
) -> Curve:
    """Draw once, and save twice: bare for the page, with title and legend for everywhere else."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    name, (width, height) = _slug(title), size
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size)
        axis = figure.subplots()
        fill(axis)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        figure.subplots_adjust(
            left=MARGINS["left"] / width, right=1 - MARGINS["right"] / width,
            bottom=MARGINS["bottom"] / height, top=1 - MARGINS["top"] / height,
        )  # fmt: skip
        svg = io.BytesIO()
        figure.savefig(
            svg, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
        _add_title_and_legend(figure, title, keys)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return Curve(name, title, note, keys, png.getvalue(), themed(svg.getvalue().decode(), title))


def _add_title_and_legend(figure: Any, title: str, keys: Sequence[Key]) -> None:
    """Make the figure higher by what they take, so that the plot stays as it is."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    columns = max(1, int(width / (0.5 + 0.068 * max((len(key.label) for key in keys), default=1))))
    room = 0.34 + 0.165 * math.ceil(len(keys) / columns)
    whole = height + room
    figure.set_size_inches(width, whole)
    figure.subplots_adjust(bottom=MARGINS["bottom"] / whole, top=1 - (room + MARGINS["top"]) / whole)
    figure.text(0.01, 1 - 0.08 / whole, title, va="top", fontsize=10.5)
    if keys:
        lines = [Line2D([], [], color=key.colour, dashes=key.dash) for key in keys]
        figure.legend(
            lines, [key.label for key in keys], loc="upper left", bbox_to_anchor=(0, 1 - 0.27 / whole), ncols=columns,
            handlelength=2.2, columnspacing=1.2, borderaxespad=0.2, labelspacing=0.3,
        )  # fmt: skip


def tick(value: float) -> str:
    """As in 0.25, 1e-05, 40 k."""
    for least, size, letter in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e4, 1e3, " k"), (0, 1, "")):
        if abs(value) >= least:
            return f"{value / size:.6g}{letter}".replace("-", "−")
    return str(value)


def themed(svg: str, title: str) -> str:
    """The SVG element alone, without a size, ids that nothing names, and fonts; its colours are those of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    named = set(re.findall(r"#([\w.-]+)[\")]", svg))
    svg = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in named else "", svg)
    svg = re.sub(
        r"font-family: [^;\"]*;?|font: ([\d.]+px) [^;\"]*", lambda f: f"font-size: {f[1]}" if f[1] else "", svg
    )
    svg = re.sub("|".join(THEME), lambda found: THEME[found[0]], svg)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return re.sub(
        r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>",
        lambda found: (
            f'<svg {found[1]} role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg" '
            'xmlns:xlink="http://www.w3.org/1999/xlink">'
        ),
        svg,
        count=1,
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")
