"""What a run leaves: a report for people, and the release for readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datagen import storage
from datagen.clients.ledger import LedgerTotals
from datagen.dataset.card import ReleaseMeta
from datagen.dataset.release import RELEASE_KIND, RELEASE_VERSION, write_release
from datagen.dataset.spending import closed_book, spending
from datagen.dataset.statistics import FunnelRow, funnel
from datagen.errors import TargetNotReachedError
from datagen.pipeline.calling import paid_in
from datagen.pipeline.living import seal_live_web
from datagen.pipeline.rollout_plan import rollouts_of
from datagen.pipeline.rollout_report import finished_attempts
from datagen.runs.directory import Run
from datagen.runs.shards import Row
from datagen.runs.tables import read_run_manifest
from datagen.synthesis.draft import STAGES
from datagen.verification.funnel import standard_gates
from datagen.web.snapshot import Snapshot

SAMPLES = 3
GATE_ORDER = ("endpoint", "reply", *STAGES, *(gate.name for gate in standard_gates()), "duplicates", "target")


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run in figures."""

    directory: str
    target: Mapping[str, int]
    accepted: Mapping[str, int]
    candidates: Mapping[str, int]
    funnel: tuple[FunnelRow, ...]
    samples: tuple[Row, ...]
    """Light rows: id, recipe, question, answer."""
    spending: Mapping[str, Any]
    """Calls, tokens and money over all candidates and per accepted row; None where nobody measured."""
    closed_book: Mapping[str, Any]
    """How often guessers without tools hit, before their gate and on accepted questions."""
    certified: Mapping[str, int]
    """Accepted questions with and without a certificate."""
    paid: LedgerTotals | None = None
    """What was really paid, each call once; rows that share a call each count it in `spending`."""
    release: str | None = None
    seconds: float | None = None
    """Time it took, where it was measured."""

    @property
    def short(self) -> dict[str, int]:
        """Recipe -> questions missing."""
        missing = {recipe: wanted - self.accepted.get(recipe, 0) for recipe, wanted in self.target.items()}
        return {recipe: count for recipe, count in missing.items() if count > 0}

    def raise_if_short(self) -> None:
        if self.short:
            listed = ", ".join(f"{count:,} {recipe}" for recipe, count in self.short.items())
            raise TargetNotReachedError(
                f"{self.directory} ended {listed} short of its target. `datagen report {self.directory}` shows which gate "
                "stops most; more pages, a class declared complete (knowledge.closed_types), looser gates, or a higher "
                "run.max_candidates_per_question would help."
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def report(directory: str, release: str | None = None) -> RunReport:
    """The report of a finished run, read from its tables."""
    manifest = read_run_manifest(directory)
    columns = ["id", "recipe", "question", "answer", "spend", "closed_book", "rivals_tried"]
    accepted = storage.read_parquet(storage.join(directory, "questions.parquet"), columns).to_pylist()
    columns = ["recipe", "gate", "reason", "spend"]
    rejects = storage.read_parquet(storage.join(directory, "rejects.parquet"), columns).to_pylist()
    searched = sum(row["rivals_tried"] is not None for row in accepted)
    return RunReport(
        directory=directory,
        target=manifest.fields["target"],
        accepted=manifest.fields["accepted"],
        candidates=manifest.fields["candidates"],
        funnel=tuple(funnel(accepted, rejects, GATE_ORDER)),
        samples=tuple(_light(row) for row in _choose_samples(accepted)),
        spending=spending(accepted, rejects),
        closed_book=closed_book(accepted, rejects, GATE_ORDER),
        certified={"certified": len(accepted) - searched, "uncertified": searched},
        paid=paid_in(directory),
        release=release,
    )


def _light(row: Row) -> Row:
    return {key: row[key] for key in ("id", "recipe", "question", "answer")}


def _choose_samples(rows: Sequence[Row]) -> list[Row]:
    """One from the middle of every recipe, then more of the first recipes: equal runs show equal samples."""
    by_recipe: dict[str, list[Row]] = {}
    for row in rows:
        by_recipe.setdefault(row["recipe"], []).append(row)
    places = [(place, recipe) for place in (2, 3, 4) for recipe in sorted(by_recipe)]
    chosen = (by_recipe[recipe][len(by_recipe[recipe]) // place] for place, recipe in places)
    return list({row["id"]: row for row in chosen}.values())[:SAMPLES]


def release(run: Run) -> Path:
    """Write the release of a finished run; one that is there already, of the same rows, is kept."""
    folder = Path(run.config.release.directory)
    read_run_manifest(run.directory)
    snapshot = seal_live_web(run) if run.config.web.live else Snapshot.open(Path(run.config.web.snapshot))
    attempts = finished_attempts(rollouts_of(run.config)) if run.config.rollouts else None
    if (folder / storage.MANIFEST_NAME).exists():
        fields = storage.read_manifest(folder, kind=RELEASE_KIND, version=RELEASE_VERSION).fields
        wanted = (run.config.digest, snapshot.digest, attempts.plan if attempts else None)
        if (fields["config"], fields["snapshot"], fields.get("rollouts")) == wanted:
            return folder
    tables = [storage.read_parquet(storage.join(run.directory, f"{name}.parquet")) for name in ("questions", "rejects")]
    meta = _meta(run, snapshot)
    written = write_release(
        tables[0], tables[1], folder, meta, gate_order=GATE_ORDER, attempts=attempts, snapshot=snapshot
    )
    return written.folder


def _meta(run: Run, snapshot: Snapshot) -> ReleaseMeta:
    config, described = run.config, run.config.release
    manifest = snapshot.manifest
    names = ", ".join(Path(path).name for path in config.gates.benchmarks)
    return ReleaseMeta(
        pretty_name=described.name,
        source=described.source,
        licence=described.licence,
        licence_note=described.licence_note,
        snapshot=snapshot.digest,
        config_digest=config.digest,
        seed=config.run.seed,
        code=f"datagen {version('datagen')}",
        cast=config.cast.kind,
        fictional=described.fictional,
        contamination=f"Screened against {names}." if names else "No benchmark file was given, so none was screened.",
        known_faults=described.known_faults,
        languages=described.languages,
        load_path=described.directory,
        config=config.model_dump(mode="json"),
        snapshot_manifest={
            "digest": manifest.digest,
            "extractor": manifest.extractor,
            "pages": manifest.pages,
            "skipped": dict(manifest.skipped),
            "sources": [{"name": s.name, "kind": s.kind, "pages": s.pages} for s in manifest.sources],
        },
    )
