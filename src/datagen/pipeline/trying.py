"""Before a run: is everything there, and what would it make?"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from datagen import storage
from datagen.config import DatagenConfig
from datagen.dataset.statistics import FunnelRow, funnel
from datagen.errors import ConfigError, DatagenError
from datagen.pipeline.corpus import build_corpus, derive, has_facts
from datagen.pipeline.finishing import GATE_ORDER
from datagen.pipeline.probing import ModelFindings, probe_cast
from datagen.pipeline.rollout_plan import with_policies
from datagen.pipeline.workshop import open_workshop
from datagen.runs.directory import CONFIG_NAME, start_run
from datagen.runs.shards import Row
from datagen.verification.contamination import BenchmarkIndex
from datagen.web.snapshot import Snapshot
from datagen.web.sources import open_source


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` looked at."""

    about: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Preview:
    """A few candidates of every recipe."""

    candidates: int
    funnel: tuple[FunnelRow, ...]
    accepted: tuple[Row, ...]
    """Whole rows of `questions`."""
    seconds: float

    @property
    def seconds_per_accepted(self) -> float | None:
        """None where nothing was accepted: a rate of nothing is not zero."""
        return round(self.seconds / len(self.accepted), 3) if self.accepted else None


def check_config(config: DatagenConfig) -> list[Finding]:
    """Look at everything that a run of this config would open; makes nothing, and asks models only what they can do."""
    findings = [_check_corpus(config), _check_unused(config)]
    for path in config.gates.benchmarks:
        try:
            count = BenchmarkIndex.read([Path(path)]).n_items
            findings.append(Finding(path, True, f"{count:,} benchmark items"))
        except DatagenError as exc:
            findings.append(Finding(path, False, str(exc)))
    for model in probe_cast(config.cast):
        findings += _check_model(model)
    section = config.run
    shards = -(-section.wave_size // section.shard_size)
    wanted = ", ".join(f"{count:,} {recipe}" for recipe, count in section.target.items())
    plan = f"{wanted}; waves of {section.wave_size:,} candidates in {shards} shards, {section.workers} at a time"
    findings.append(Finding("plan", True, f"{plan}; config {config.digest}"))
    return [*findings, *_check_attempts(config)]


def _check_attempts(config: DatagenConfig) -> list[Finding]:
    """Who will attempt the questions, where the config wants attempts."""
    section = config.rollouts
    if section is None:
        return []
    try:
        with_policies(config)
    except ConfigError as exc:
        return [Finding("attempts", False, str(exc))]
    questions = section.questions or sum(config.run.target.values())
    count = questions * len(section.policies) * section.attempts
    return [
        Finding("attempts", True, f"{count:,} by {', '.join(section.policies)}; calls labelled by {section.labeller}")
    ]


def _check_corpus(config: DatagenConfig) -> Finding:
    folder = Path(config.web.snapshot)
    if has_facts(folder, config.knowledge):
        snapshot = Snapshot.open(folder)
        return Finding("snapshot", True, f"{folder} has {len(snapshot):,} pages, {snapshot.digest}")
    if not config.web.sources:
        return Finding("snapshot", False, f"{folder} is not there and web.sources is empty")
    try:
        for source in config.web.sources:
            open_source(source)
    except (DatagenError, ImportError) as exc:
        return Finding("sources", False, str(exc))
    return Finding("snapshot", True, f"{folder} will be built from {', '.join(config.web.sources)}")


def _check_unused(config: DatagenConfig) -> Finding:
    directory = config.run.directory
    if storage.exists(storage.join(directory, CONFIG_NAME)):
        return Finding("run directory", False, f"{directory} holds a run; `datagen resume {directory}` continues it")
    return Finding("run directory", True, f"{directory} is free")


def _check_model(seen: ModelFindings) -> list[Finding]:
    """A row per capability, and one that says whether the model can play its roles."""
    name = seen.model.name
    rows = []
    answers = bool(seen.found) and seen.found[0].ok
    for finding in seen.found if answers else seen.found[:1]:
        needed = seen.needed(finding)
        detail = finding.sentence if finding.ok or needed else f"missing, and not needed: {finding.sentence}"
        rows.append(Finding(f"{name} {finding.capability}", finding.ok or not needed, detail))
    fit = f"{seen.model.model} at {seen.model.endpoint} can play {', '.join(seen.roles)}"
    return [*rows, Finding(f"{name} cast", not seen.unfit, seen.unfit or fit)]


def preview_candidates(config: DatagenConfig, count: int) -> Preview:
    """Make the first `count` candidates of every recipe that the config wants, and keep nothing on disk."""
    build_corpus(config)
    snapshot = Snapshot.open(Path(config.web.snapshot))
    derive(snapshot, config.knowledge)
    with tempfile.TemporaryDirectory() as scratch:
        section = config.run.model_copy(update={"directory": scratch})
        shop = open_workshop(start_run(config.model_copy(update={"run": section}), snapshot.digest))
        recipes = [recipe for recipe, wanted in config.run.target.items() if wanted]
        started = time.perf_counter()
        outcomes = [shop.make(candidate, recipe) for recipe in recipes for candidate in range(count)]
    accepted = [outcome.question for outcome in outcomes if outcome.question is not None]
    rejects = [outcome.reject for outcome in outcomes if outcome.reject is not None]
    return Preview(
        candidates=len(outcomes),
        funnel=tuple(funnel(accepted, rejects, GATE_ORDER)),
        accepted=tuple(accepted),
        seconds=time.perf_counter() - started,
    )
