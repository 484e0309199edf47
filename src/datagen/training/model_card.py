"""The README.md of an exported checkpoint: what it is, what it was trained on, how good it is and how sure that is.

    write_model_card("out/train/demo/model", ModelCard(name="demo", evaluations=read_evaluations("out/train/demo"), ...))

The front matter is that of a Hugging Face model card; its `model-index` holds the last stage's measurements. What is not known
is left out or said not to be known. If the start was weakened on purpose, that stands before the first figure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from datagen.dataset.card import environment
from datagen.storage import write_atomic
from datagen.training.recording import EvaluationRecord
from datagen.training.report.comparisons import Comparison, Measured, comparisons, headline, latest, p_value, percent
from datagen.training.report.contents import Arm

CARD_NAME = "README.md"
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
STANDARD_LIMITS = (
    "It answers questions of the kind it was trained on, through the two tools `search` and `visit`; without them it guesses.",
    "An answer is as good as the pages that are searched, and the policy does not doubt them.",
    "Success was measured by comparing with one answer key; a right answer in other words may have been counted as wrong.",
)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the card says."""

    name: str
    licence: str = "apache-2.0"
    """An identifier that the Hub knows."""
    base_model: str | None = None
    """Name on the Hub of the model that training began with."""
    begun_from: str = ""
    """What it began with where that is not on the Hub, such as another run; random weights where both are empty."""
    adapters: bool = False
    """The folder holds adapters, which need the base model."""
    framing: str = "chat"
    """The manner of talking: "compact", with a tokenizer of its own, or "chat"."""
    parameters: int | None = None
    """Of the whole model."""
    languages: tuple[str, ...] = ("en",)
    datasets: tuple[str, ...] = ()
    """Names on the Hub; folders belong into `lineage`."""
    stages: tuple[str, ...] = ()
    """How it was trained: one sentence per stage, in order."""
    lineage: Mapping[str, str | int] = field(default_factory=dict)
    """Releases, snapshots, digests, code."""
    seeds: tuple[int, ...] = ()
    evaluations: Sequence[EvaluationRecord] = ()
    """All of the run, oldest first."""
    controls: Mapping[str, Sequence[EvaluationRecord]] = field(default_factory=dict)
    """Measurements of other runs to compare with, by the name of the run."""
    weakened_start: str = ""
    """In what way the start was weakened on purpose."""
    limits: tuple[str, ...] = STANDARD_LIMITS
    load_path: str = "path/to/this/folder"
    snapshot: str = "SNAPSHOT"
    """What `datagen evaluate --on` is given in the example."""
    questions: str = "RELEASE"

    def __post_init__(self) -> None:
        wrong = [name for name in (*self.datasets, *filter(None, [self.base_model])) if not _HUB_ID.fullmatch(name)]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)}: the front matter takes names on the Hub, such as owner/name; put folders into lineage"
            )
        if self.adapters and self.base_model is None:
            raise ValueError("adapters are no model without the base model; say which it is")


def write_model_card(folder: Path | str, card: ModelCard) -> Path:
    """Write README.md into the folder of an exported checkpoint; returns its path."""
    path = Path(folder, CARD_NAME)
    write_atomic(path, render_model_card(card).encode())
    return path


def render_model_card(card: ModelCard) -> str:
    """The card as Markdown with front matter."""
    measured = latest(
        [
            Arm(card.name, (), tuple(card.evaluations), ()),
            *(Arm(name, (), tuple(records), ()) for name, records in card.controls.items()),
        ]
    )
    own = [one for one in measured if one.arm == card.name]
    template = (files("datagen.training") / "templates" / "model_card.md.j2").read_text(encoding="utf-8")
    return (
        _environment()
        .from_string(template)
        .render(
            card=card,
            results=[_result(one.record) for one in _of_last_phase(own)],
            headline=headline(measured) if own else "",
            rows=[_row(one) for one in measured],
            comparisons=[_compared(one) for one in comparisons(measured)] if own else [],
            size="" if card.parameters is None else _size(card.parameters),
        )
    )


def _environment() -> jinja2.Environment:
    made = environment()
    made.globals["percent"] = percent
    return made


def _of_last_phase(measured: Sequence[Measured]) -> list[Measured]:
    """Those of the weights that are in the folder."""
    graded = [one for one in measured if one.record.n]
    if not graded:
        return []
    newest = graded[-1].record
    place = (newest.phase, newest.step, newest.policy)
    return [one for one in graded if (one.record.phase, one.record.step, one.record.policy) == place]


def _result(record: EvaluationRecord) -> dict[str, Any]:
    interval = record.interval()
    ends = "" if interval is None else f", 95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f}"
    return {
        "set": record.set,
        "value": round(100 * (record.success or 0.0), 2),
        "name": f"right answers in per cent, {record.mode_name}, n = {record.n:,}{ends}",
    }


def _row(one: Measured) -> tuple[str, ...]:
    record, interval = one.record, one.record.interval()
    ends = "" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
    calls = [f"{value:.1f}" if value is not None else "" for value in (record.searches, record.visits, record.tokens)]
    return (
        one.name,
        record.set,
        record.mode_name,
        f"{record.right:,} of {record.n:,}",
        percent(record.success),
        ends,
        *calls,
    )


def _compared(one: Comparison) -> tuple[str, ...]:
    shift = one.difference
    return (
        f"{one.second.name} against {one.first.name}",
        one.first.record.set,
        one.first.record.mode_name,
        f"{one.n:,}",
        f"{100 * shift.value:+.1f} ({100 * shift.low:+.1f} to {100 * shift.high:+.1f})",
        one.test,
        p_value(one.p),
    )


def _size(parameters: int) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g} {letter}"
    return str(parameters)
