"""One shard, start to end: recipe, cast and gates over a range of candidates.

Adding a recipe: a function `(candidate, seed, bench, settings) -> Draft | Rejected` in `synthesis`, its section in
`config`, its name in `config.Recipe`, and a line in `Workshop.propose`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.gathering import BROAD, DEEP
from datagen.agents.symbolic.guesser import PriorGuesser
from datagen.agents.symbolic.page_memory import Budget, Competence
from datagen.agents.symbolic.planner import SymbolicPlanner
from datagen.agents.symbolic.proposer import DEFAULT_CUTOFF, SymbolicProposer
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.agents.symbolic.tree import SymbolicBrowser
from datagen.config import DatagenConfig, GatesConfig, Recipe
from datagen.errors import ConfigError, SnapshotError, StorageError
from datagen.knowledge.graph import FactGraph
from datagen.language.parse import Parser
from datagen.language.verbalise import Verbaliser
from datagen.pipeline.corpus import graph_folder, open_guesser
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
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.tools import Web

READINGS_KEPT = 32_768
"""Pages kept read in one process. Solvers come back to the same pages for question after question; on 100,000 pages
this many take about 300 MB, and 4,096 made reading a quarter of all work."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a process loads once to make candidates of one run."""

    config: DatagenConfig
    bench: Workbench
    gates: tuple[Gate, ...]
    context: GateContext
    lineage: dict[str, Any]

    def make(self, candidate: int, recipe: str) -> Outcome:
        """Propose one candidate and put it through the gates."""
        ended = self._attempt(candidate, recipe)
        if isinstance(ended, Rejected):
            return Outcome(candidate, recipe, None, to_reject_row(ended, self.lineage))
        cutoff = self.context.settings.cutoff if recipe in self.context.settings.fresh_recipes else None
        return Outcome(candidate, recipe, to_question_row(ended.draft, ended.verdicts, self.lineage, cutoff), None)

    def _attempt(self, candidate: int, recipe: str) -> Accepted | Rejected:
        """A candidate that breaks the program is logged with its traceback and counted under the gate "error".

        Candidates are reproducible, so a crash that ended the run would end every resume of it as well.
        """
        try:
            made = self.propose(candidate, recipe)
            return made if isinstance(made, Rejected) else run_gates(made, self.gates, self.context)
        except (ConfigError, SnapshotError, StorageError):
            raise  # these concern the whole run, and the user can mend them
        except Exception as exc:
            log.exception("candidate %d of %s broke", candidate, recipe)
            return Rejected(candidate, cast("Recipe", recipe), "error", type(exc).__name__, str(exc))

    def propose(self, candidate: int, recipe: str) -> Draft | Rejected:
        seed, recipes = self.config.run.seed, self.config.recipes
        if recipe == "infoseek":
            return make_infoseek(candidate, seed, self.bench, InfoseekSettings(**recipes.infoseek.model_dump()))
        return make_duetqa(candidate, seed, self.bench, DuetqaSettings(**recipes.duetqa.model_dump()))


def run_shard(directory: str, first: int, stop: int) -> ShardReport:
    """Make candidates `first` to `stop - 1` of a run and write them as one shard."""
    run, shop = _opened(directory)
    wave = wave_of(run, first)
    recipes = wave.recipes()
    return write_shard(run, Block(first, stop), (shop.make(i, recipes[i - wave.first]) for i in range(first, stop)))


@lru_cache(maxsize=1)
def _opened(directory: str) -> tuple[Run, Workshop]:
    """Kept for the next shard of the same run in this process."""
    run = open_run(directory)
    return run, open_workshop(run)


def open_workshop(run: Run) -> Workshop:
    config = run.config
    snapshot = Snapshot.open(Path(config.web.snapshot))
    web = SnapshotWeb(snapshot)
    graph = FactGraph.load(graph_folder(snapshot, config.knowledge))
    parser, verbaliser = Parser(graph.catalogue), Verbaliser(graph.catalogue)
    competence = Competence.of(graph.catalogue, parser, READINGS_KEPT)
    budget = Budget(config.cast.solver_searches, config.cast.solver_visits)
    paths = [Path(path) for path in config.gates.benchmarks]
    return Workshop(
        config=config,
        bench=_bench(config, web, graph, competence, parser=parser, verbaliser=verbaliser),
        gates=standard_gates(),
        context=GateContext(
            web=web,
            catalogue=graph.catalogue,
            settings=gate_settings(config.gates, config.recipes.duetqa.cutoff),
            verbaliser=verbaliser,
            solvers=(TopDownSolver(competence, budget), BottomUpSolver(competence, budget)),
            guessers=(PriorGuesser(open_guesser(snapshot), parser),),
            benchmarks=BenchmarkIndex.read(paths) if paths else None,
        ),
        lineage=_lineage(run, graph),
    )


def _bench(
    config: DatagenConfig, web: Web, graph: FactGraph, competence: Competence, *, parser: Parser, verbaliser: Verbaliser
) -> Workbench:
    cutoff = config.recipes.duetqa.cutoff or DEFAULT_CUTOFF
    temperaments = (("m1-broad", BROAD), ("m2-deep", DEEP))
    rule = config.gates.sources.get("duetqa")
    complete = config.knowledge.closed_types
    hosts = 1 if rule is None or rule.relaxed else rule.min_hosts
    return Workbench(
        web=web,
        graph=graph,
        catalogue=graph.catalogue,
        verbaliser=verbaliser,
        parser=parser,
        planner=SymbolicPlanner(graph.catalogue),
        browser=SymbolicBrowser(graph),
        proposers=tuple(
            SymbolicProposer(name, competence, kind, cutoff=cutoff, min_hosts=hosts, complete_types=complete)
            for name, kind in temperaments
        ),
        taxonomy=load_taxonomy(shipped_file("themes.toml")),
        seed_questions=load_seed_questions(shipped_file("seed_questions.jsonl")),
    )


def gate_settings(gates: GatesConfig, cutoff: str | None) -> GateSettings:
    """The thresholds that the gates read, from the config's section."""
    plain = gates.model_dump(exclude={"benchmarks", "sources"})
    rules = {recipe: SourceRule(**rule.model_dump()) for recipe, rule in gates.sources.items()}
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
