"""The quality report of a release: every metric of the field that its rows, attempts and snapshot let one count.

    report = measure_release("out/demo/release", "out/demo/snapshot")
    report.to_dict()        for programs
    report.to_markdown()    for the card

Each metric stands beside what was published for other sets, and a footnote says where the definitions differ (`published`).
Definitions follow spec infoseek_webexplorer §4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datagen.dataset.quality.figures import QuestionFigures, question_figures
from datagen.dataset.quality.measuring import (
    Measured,
    of_attempts,
    of_first_stage,
    of_gates,
    of_questions,
    of_widths,
    vertices_groups,
    without_snapshot,
)
from datagen.dataset.quality.published import BY_KEY, DEFINITIONS, Published
from datagen.dataset.quality.retrieval import FirstStage, first_stage
from datagen.dataset.quality.signatures import read_signatures
from datagen.dataset.quality.widths import Widths, clue_widths, open_graph
from datagen.dataset.release import BATCH_ROWS, RELEASE_KIND, RELEASE_VERSION
from datagen.errors import ReleaseError, StorageError
from datagen.storage import MANIFEST_NAME, join, read_batches, read_json, read_manifest
from datagen.web.snapshot import Snapshot

Row = Mapping[str, Any]
Watch = Callable[[int, int], None]
"""Called with (questions measured, questions in all)."""

COLUMNS = [
    "id", "question", "answer", "answer_aliases", "answer_type", "answer_canonical", "recipe", "difficulty", "certificate",
    "evidence", "tree", "attempts", "oracle",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class QualityReport:
    """All metrics of one release, in the order of `published.DEFINITIONS`."""

    release: str
    questions: int
    pages: int | None
    """Pages of the snapshot, where one was given: what first-stage figures depend on."""
    answer_types: Mapping[str, float]
    """Shares in per cent."""
    clue_kinds: Mapping[str, float]
    metrics: tuple[Measured, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything, with definitions and published values."""
        metrics = [asdict(BY_KEY[m.key]) | asdict(m) for m in self.metrics]
        return {
            "release": self.release,
            "questions": self.questions,
            "pages": self.pages,
            "answer_types": dict(self.answer_types),
            "clue_kinds": dict(self.clue_kinds),
            "metrics": metrics,
        }

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(metric, here, over how many, published) in words; numbers in brackets are those of `notes`."""
        numbers = {note: number for number, note in enumerate(self.notes(), start=1)}
        rows: list[tuple[str, str, str, str]] = []
        shown: set[str] = set()
        for m in self.metrics:
            published = "" if m.key in shown else _printed(BY_KEY[m.key].published)
            rows.append((_title(m, numbers), _value(m), f"{m.n:,}" if m.value is not None else "", published))
            shown.add(m.key)
        return rows

    def caption(self) -> str:
        """What was measured, in a sentence or three."""
        pages = "" if self.pages is None else f" over {self.pages:,} pages"
        shares = f"Answers: {_shares(self.answer_types)}. Clues: {_shares(self.clue_kinds)}."
        return f"{self.questions:,} questions{pages}. {shares} Numbers in brackets are those of the notes."

    def notes(self) -> list[str]:
        """Footnotes: where a definition is not the published one, and why a value is missing. Each once."""
        found: dict[str, None] = {}
        for m in self.metrics:
            found |= dict.fromkeys(_notes(m))
        return list(found)

    def split(self) -> tuple[list[str], list[tuple[str, ...]]]:
        """Metrics by the vertices of their questions: (columns, rows)."""
        names = sorted({name for m in self.metrics for name in m.by_vertices})
        rows = [
            (_title(m, {}), *(_figure(m.by_vertices.get(name)) for name in names))
            for m in self.metrics
            if len(m.by_vertices) > 1 and m.key != "vertices"
        ]
        return ["metric", *(f"{name} vertices" for name in names)], rows

    def to_markdown(self) -> str:
        """Two tables and the footnotes, for the card."""
        lines = _table(["metric", "here", "n", "published (source)"], self.rows())
        lines = [f"{self.caption()}", "", *lines, ""]
        lines += [*(f"{number}. {note}" for number, note in enumerate(self.notes(), start=1))]
        columns, rows = self.split()
        return "\n".join([*lines, "", *_table(columns, rows)]) + "\n"


def _title(m: Measured, numbers: Mapping[str, int]) -> str:
    definition = BY_KEY[m.key]
    unit = "" if definition.unit == "mean" else f", {definition.unit}"
    marks = "".join(f" [{numbers[note]}]" for note in _notes(m) if note in numbers)
    return f"{definition.title}{unit}{f' ({m.solver})' if m.solver else ''}{marks}"


def _notes(m: Measured) -> Iterator[str]:
    if BY_KEY[m.key].note:
        yield BY_KEY[m.key].note
    if m.value is None:
        yield f"No value: {m.reason}."
    elif m.solver.endswith(", at the gate"):
        yield "Of solvers that accepted questions had to be solved by: failures are not among them."


def _value(m: Measured) -> str:
    return "none" if m.value is None else _figure(m.value)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 100 else f"{value:,.1f}"


def _printed(published: Sequence[Published]) -> str:
    by_source: dict[str, list[str]] = {}
    for value in published:
        by_source.setdefault(value.source, []).append(f"{value.of} {value.value}")
    return "; ".join(f"{', '.join(values)} ({source})" for source, values in by_source.items())


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.1f} %" for name, share in shares.items()) or "none"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *cells)]


# --- measuring --------------------------------------------------------------------------------------------------------


def is_release(folder: Path) -> bool:
    """Whether a folder says of itself that it is a release, of whatever version."""
    try:
        return bool(read_json(join(folder, MANIFEST_NAME)).get("kind") == RELEASE_KIND)
    except StorageError:
        return False


def measure_release(folder: Path, snapshot_dir: Path | None = None, watch: Watch | None = None) -> QualityReport:
    """Measure a release; metrics on pages and facts need the snapshot that it was made from."""
    try:
        manifest = read_manifest(folder, kind=RELEASE_KIND, version=RELEASE_VERSION)
    except StorageError as exc:
        raise ReleaseError(f"{exc} Pass the folder that `datagen run` named as its release.") from exc
    snapshot = None if snapshot_dir is None else _same_snapshot(folder, manifest.fields.get("snapshot"), snapshot_dir)
    total = sum(entry.rows or 0 for entry in manifest.files if entry.name.startswith("data/qa/"))
    return measure_folder(folder, snapshot, (lambda done: watch(done, total)) if watch is not None else None)


def measure_folder(
    folder: Path, snapshot: Snapshot | None, watch: Callable[[int], None] | None = None
) -> QualityReport:
    """Measure the tables of a release that may still lack its card and its manifest."""
    figures: list[QuestionFigures] = []
    widths: list[Widths] = []
    found: list[FirstStage] = []
    graph = None if snapshot is None else open_graph(snapshot)
    for rows in _batches(folder):
        figures += map(question_figures, rows)
        if snapshot is not None and graph is not None:
            widths += clue_widths(graph, rows)
            found += first_stage(snapshot, rows)
        if watch is not None:
            watch(len(figures))
    groups = vertices_groups(figures)
    metrics = of_questions(figures, groups)
    metrics += without_snapshot() if snapshot is None else of_widths(widths, groups) + of_first_stage(found, groups)
    attempts = list(read_signatures(folder))
    metrics += of_attempts(attempts, groups) if attempts else of_gates(figures, groups)
    metrics += of_run(read_json(join(folder, "reports", "statistics.json")))
    return _report(folder, figures, metrics, None if snapshot is None else len(snapshot))


def _same_snapshot(folder: Path, digest: object, snapshot_dir: Path) -> Snapshot:
    snapshot = Snapshot.open(snapshot_dir)
    if digest != snapshot.digest:
        raise ReleaseError(
            f"{folder} was made from the snapshot {digest}, and {snapshot_dir} is {snapshot.digest}. "
            "Pass the snapshot it was made from with --snapshot."
        )
    return snapshot


def _batches(folder: Path) -> Iterator[Sequence[Row]]:
    for path in sorted((folder / "data" / "qa").glob("*.parquet")):
        for batch in read_batches(path, COLUMNS, rows=BATCH_ROWS):
            yield batch.to_pylist()


def of_run(statistics: Mapping[str, Any]) -> list[Measured]:
    """What the run counted over accepted and rejected candidates."""
    spent, guessed = statistics["spending"], statistics["closed_book"]
    each = spent["per_accepted"]
    prices = [each[name] for name in ("cost_usd", "judge_cost_usd")]
    paid = [price for price in prices if price is not None]
    calls = (spent["total"]["calls"] or 0) + (spent["total"]["judge_calls"] or 0)
    unpaid = "models were asked at no known price" if calls else "no model was asked"
    before, after = guessed["before"], guessed["after"]
    guessers = ", ".join(guessed["by_guesser"])
    return [
        Measured("kept", round(100 * spent["accepted"] / spent["candidates"], 3), spent["candidates"])
        if spent["candidates"]
        else Measured("kept", None, reason="there were no candidates"),
        Measured("closed_book_failure_before", None, reason="no guesser was asked")
        if before is None
        else Measured("closed_book_failure_before", round(100 - 100 * before, 3), guessed["reached"], guessers),
        Measured("closed_book_failure_after", None, reason="the run had no closed-book audit")
        if after is None
        else Measured("closed_book_failure_after", round(100 - 100 * after, 3), guessed["audit_samples"], guessers),
        Measured("cost", round(sum(paid), 6), spent["accepted"]) if paid else Measured("cost", None, reason=unpaid),
        Measured("expansions", None, reason="growth steps are not kept in rows"),
        Measured("question_tokens", None, reason="tokens are those of a model, and no tokenizer belongs to a release"),
        Measured("training_effect", None, reason="nothing was trained on this release"),
    ]


def _report(
    folder: Path, figures: Sequence[QuestionFigures], metrics: Iterable[Measured], pages: int | None
) -> QualityReport:

    order = {definition.key: place for place, definition in enumerate(DEFINITIONS)}
    kinds: Counter[str] = Counter()
    for f in figures:
        kinds.update({name: count for name, count in f.clue_kinds.items() if name != "thing"})
    return QualityReport(
        release=folder.name,
        questions=len(figures),
        pages=pages,
        answer_types=_in_per_cent(Counter(f.answer_type for f in figures)),
        clue_kinds=_in_per_cent(kinds),
        metrics=tuple(sorted(metrics, key=lambda m: (order[m.key], m.solver))),
    )


def _in_per_cent(counts: Counter[str]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: round(100 * count / total, 2) for name, count in counts.most_common() if count}
