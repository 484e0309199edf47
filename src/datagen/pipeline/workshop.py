"""One shard, start to end: recipe, cast and gates over a range of candidates.

Adding a recipe: a function `(candidate, seed, bench, settings) -> Draft | Rejected` in `synthesis`, its section in
`config`, its name in `config.Recipe`, and a line in `Workshop.propose`.

Where models play, a process works on `cast.concurrency` candidates at once, each in a thread of its own that mostly
waits for replies; shards in flight share these threads, so that the tail of one shard is filled by the next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from datagen.clients.billing import Bill, billing
from datagen.clients.service import ChatService
from datagen.config import DatagenConfig, GatesConfig, Recipe
from datagen.errors import (
    BudgetReachedError,
    ConfigError,
    CredentialsError,
    EndpointDownError,
    EndpointError,
    ReplayMissError,
    SnapshotError,
    StorageError,
    UnusableReplyError,
)
from datagen.knowledge.graph import FactGraph
from datagen.language.parse import Parser
from datagen.language.verbalise import Verbaliser
from datagen.pipeline.calling import open_service, plays_models
from datagen.pipeline.casting import Cast, Premises, assemble_cast
from datagen.pipeline.places import open_place
from datagen.records.shipped import shipped_file
from datagen.runs.directory import Run, open_run
from datagen.runs.shards import Outcome, wave_of, write_shard
from datagen.runs.workers import Block, ShardReport
from datagen.synthesis.draft import Draft, Rejected
from datagen.synthesis.duetqa import make_duetqa
from datagen.synthesis.infoseek import make_infoseek
from datagen.synthesis.settings import DuetqaSettings, InfoseekSettings, Workbench
from datagen.synthesis.themes import load_seed_questions, load_taxonomy
from datagen.verification.contamination import BenchmarkIndex
from datagen.verification.funnel import Accepted, run_gates, standard_gates
from datagen.verification.gate import Gate, GateContext, GateSettings, SourceRule
from datagen.verification.rows import to_question_row, to_reject_row
from datagen.web.tools import Web

ENDS_THE_RUN = (
    ConfigError,
    SnapshotError,
    StorageError,
    BudgetReachedError,
    CredentialsError,
    EndpointDownError,
    ReplayMissError,
)
"""Faults that concern every candidate, and that the user can mend before a resume."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a process loads once to make candidates of one run."""

    config: DatagenConfig
    bench: Workbench
    gates: tuple[Gate, ...]
    context: GateContext
    lineage: dict[str, Any]
    client: ChatService | None = None
    threads: ThreadPoolExecutor | None = None
    """Where models play: one thread for every candidate in the making."""

    def make_all(self, places: Iterable[tuple[int, str]]) -> Iterator[Outcome]:
        """Make candidates, given with their recipes; outcomes come in the same order."""
        if self.threads is None:
            yield from (self.make(candidate, recipe) for candidate, recipe in places)
            return
        futures = [self.threads.submit(self.make, candidate, recipe) for candidate, recipe in places]
        try:
            for future in futures:
                yield future.result()
        finally:
            _drop(futures)

    def make(self, candidate: int, recipe: str) -> Outcome:
        """Propose one candidate and put it through the gates."""
        with billing() as bill:
            ended = self._attempt(candidate, recipe)
        if isinstance(ended, Rejected):
            return Outcome(candidate, recipe, None, to_reject_row(ended, self.lineage, bill=self._bill(bill)))
        cutoff = self.context.settings.cutoff if recipe in self.context.settings.fresh_recipes else None
        row = to_question_row(ended.draft, ended.verdicts, self.lineage, cutoff, bill=self._bill(bill))
        return Outcome(candidate, recipe, row, None)

    def _bill(self, bill: Bill) -> Bill | None:
        return None if self.client is None else bill

    def _attempt(self, candidate: int, recipe: str) -> Accepted | Rejected:
        """A candidate that breaks the program is logged with its traceback and counted under the gate "error".

        Candidates are reproducible, so a crash that ended the run would end every resume of it as well.
        """
        try:
            made = self.propose(candidate, recipe)
            return made if isinstance(made, Rejected) else run_gates(made, self.gates, self.context)
        except ENDS_THE_RUN:
            raise
        except EndpointError as exc:
            return Rejected(candidate, cast("Recipe", recipe), "endpoint", _code(exc), str(exc))
        except UnusableReplyError as exc:
            return Rejected(candidate, cast("Recipe", recipe), "reply", exc.reason, str(exc))
        except Exception as exc:
            log.exception("candidate %d of %s broke", candidate, recipe)
            return Rejected(candidate, cast("Recipe", recipe), "error", type(exc).__name__, str(exc))

    def propose(self, candidate: int, recipe: str) -> Draft | Rejected:
        seed, recipes = self.config.run.seed, self.config.recipes
        if recipe == "infoseek":
            return make_infoseek(candidate, seed, self.bench, InfoseekSettings(**recipes.infoseek.model_dump()))
        return make_duetqa(candidate, seed, self.bench, DuetqaSettings(**recipes.duetqa.model_dump()))


def _code(exc: EndpointError) -> str:
    """RetriesExhaustedError -> retries_exhausted"""
    name = type(exc).__name__.removesuffix("Error")
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _drop(futures: list[Future[Outcome]]) -> None:
    for future in futures:
        future.cancel()


def run_shard(directory: str, first: int, stop: int) -> ShardReport:
    """Make candidates `first` to `stop - 1` of a run and write them as one shard."""
    run, shop = opened(directory)
    wave = wave_of(run, first)
    recipes = wave.recipes()
    places = [(i, recipes[i - wave.first]) for i in range(first, stop)]
    return write_shard(run, Block(first, stop), shop.make_all(places))


_opening = threading.Lock()


def opened(directory: str) -> tuple[Run, Workshop]:
    """A run and its workshop, kept for the next shard of the same run in this process; threads share one."""
    with _opening:
        return _opened(directory)


@lru_cache(maxsize=1)
def _opened(directory: str) -> tuple[Run, Workshop]:
    run = open_run(directory)
    return run, open_workshop(run)


def forget_workshops() -> None:
    """Let go of what this process keeps open for the shards of a run."""
    with _opening:
        _opened.cache_clear()


def open_workshop(run: Run, *, offline: bool = False) -> Workshop:
    """Load everything. `offline` answers models, searches and fetches from what the run has seen."""
    config = run.config
    client = open_service(config, run.directory, offline=offline) if plays_models(config.cast) else None
    place = open_place(run, offline=offline)
    graph = place.graph
    parser, verbaliser = Parser(graph.catalogue), Verbaliser(graph.catalogue)
    players = assemble_cast(Premises(config, place.web, graph, parser, place.snapshot, client))
    paths = [Path(path) for path in config.gates.benchmarks]
    return Workshop(
        config=config,
        bench=_bench(config, place.web, graph, players, parser=parser, verbaliser=verbaliser),
        gates=standard_gates(),
        context=GateContext(
            web=place.web,
            catalogue=graph.catalogue,
            settings=gate_settings(config.gates, config.recipes.duetqa.cutoff),
            verbaliser=verbaliser,
            solvers=players.solvers,
            guessers=players.guessers,
            trial_solvers=players.trial_solvers,
            rival_seekers=players.rival_seekers,
            open_book=players.open_book,
            judge=players.judge,
            benchmarks=BenchmarkIndex.read(paths) if paths else None,
        ),
        lineage=_lineage(run, graph),
        client=client,
        threads=ThreadPoolExecutor(config.cast.concurrency, thread_name_prefix="candidate") if client else None,
    )


def _bench(
    config: DatagenConfig, web: Web, graph: FactGraph, players: Cast, *, parser: Parser, verbaliser: Verbaliser
) -> Workbench:
    return Workbench(
        web=web,
        graph=graph,
        catalogue=graph.catalogue,
        verbaliser=verbaliser,
        parser=parser,
        planner=players.planner,
        browser=players.browser,
        proposers=players.proposers,
        obfuscator=players.obfuscator,
        rewriter=players.rewriter,
        rewriter_share=config.cast.rewriter_share,
        judge=players.judge,
        taxonomy=load_taxonomy(shipped_file("themes.toml")),
        seed_questions=load_seed_questions(shipped_file("seed_questions.jsonl")),
    )


def gate_settings(gates: GatesConfig, cutoff: str | None) -> GateSettings:
    """The thresholds that the gates read, from the config's section."""
    plain = gates.model_dump(exclude={"benchmarks", "sources"})
    rules: dict[str, SourceRule] = {recipe: SourceRule(**rule.model_dump()) for recipe, rule in gates.sources.items()}
    return GateSettings(**plain, sources=rules, cutoff=cutoff)


def _lineage(run: Run, graph: FactGraph) -> dict[str, Any]:
    return {
        "seed": run.config.run.seed,
        "snapshot": run.snapshot,
        "config": run.config.digest,
        "catalogue": graph.catalogue.digest,
        "code": f"datagen {version('datagen')}",
        "cast": run.config.cast.kind,
        "models": [],
        "prompts": [],
    }
