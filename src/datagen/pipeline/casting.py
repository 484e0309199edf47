"""Who plays the roles: programs, models, or checkpoints that were trained here, mixed as the config likes.

Programs see the two tools and the text of pages. Models see what their prompts show them, checkpoints what they saw in
training. Which of the two plays a role
is the config's choice per role, so a program may plan for a model that writes, or the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datagen.agents.budget import Budget
from datagen.agents.llm.browser import LlmBrowser
from datagen.agents.llm.guesser import LlmGuesser
from datagen.agents.llm.judge import LlmJudge
from datagen.agents.llm.obfuscator import LlmObfuscator
from datagen.agents.llm.open_book import LlmOpenBookReader
from datagen.agents.llm.planner import LlmPlanner
from datagen.agents.llm.prompts import PromptBook
from datagen.agents.llm.proposer import LlmProposer
from datagen.agents.llm.rivals import LlmRivalSeeker
from datagen.agents.llm.solver import LlmSolver
from datagen.agents.llm.voice import Voice
from datagen.agents.llm.writer import LlmRewriter
from datagen.agents.roles import (
    Browser,
    Guesser,
    Judge,
    Obfuscator,
    OpenBookReader,
    Planner,
    Proposer,
    Rewriter,
    RivalSeeker,
    Solver,
)
from datagen.agents.symbolic.bottomup import BottomUpSolver
from datagen.agents.symbolic.gathering import BROAD, DEEP
from datagen.agents.symbolic.guesser import PriorGuesser
from datagen.agents.symbolic.page_memory import Competence
from datagen.agents.symbolic.planner import SymbolicPlanner
from datagen.agents.symbolic.proposer import DEFAULT_CUTOFF, SymbolicProposer
from datagen.agents.symbolic.topdown import TopDownSolver
from datagen.agents.symbolic.tree import SymbolicBrowser
from datagen.clients.chat import ChatClient
from datagen.config import DatagenConfig
from datagen.errors import ConfigError
from datagen.knowledge.graph import FactGraph
from datagen.language.parse import Parser
from datagen.pipeline.calling import model_spec, plays_models
from datagen.pipeline.corpus import open_guesser
from datagen.pipeline.trained import open_trained, with_checkpoint_digests
from datagen.web.snapshot import Snapshot
from datagen.web.tools import Web

READINGS_KEPT = 32_768
"""Pages kept read in one process. Solvers come back to the same pages for question after question; on 100,000 pages
this many take about 300 MB, and 4,096 made reading a quarter of all work."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody whom recipes and gates may call."""

    planner: Planner
    browser: Browser
    proposers: tuple[Proposer, ...]
    solvers: tuple[Solver, ...]
    guessers: tuple[Guesser, ...]
    trial_solvers: tuple[Solver, ...] = ()
    """Tries at accepted questions that stop nothing."""
    obfuscator: Obfuscator | None = None
    rewriter: Rewriter | None = None
    judge: Judge | None = None
    rival_seekers: tuple[RivalSeeker, ...] = ()
    open_book: OpenBookReader | None = None


@dataclass(frozen=True, slots=True)
class Premises:
    """What a cast works with in one process. `snapshot` is None on the live web, `client` where no model plays."""

    config: DatagenConfig
    web: Web
    graph: FactGraph
    parser: Parser
    snapshot: Snapshot | None
    client: ChatClient | None


def prompt_book(config: DatagenConfig) -> PromptBook:
    """The prompts that a run uses."""
    return PromptBook(Path(config.cast.prompts) if config.cast.prompts else None)


def with_prompts(config: DatagenConfig) -> DatagenConfig:
    """The config with the digests of prompts and weights as they are now: they are part of what makes the rows."""
    config = config.model_copy(update={"cast": with_checkpoint_digests(config.cast)})
    if not plays_models(config.cast):
        return config
    cast = config.cast.model_copy(update={"prompt_digests": prompt_book(config).digests()})
    return config.model_copy(update={"cast": cast})


def assemble_cast(premises: Premises) -> Cast:
    """Everybody, each played by whom the config names."""
    return _Casting(premises).cast()


class _Casting:
    """One cast in the making; what several players share is made once."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._config = premises.config
        self._graph = premises.graph
        self._prompts = prompt_book(self._config)
        cast = self._config.cast
        self._budget = Budget(cast.solver_searches, cast.solver_visits)
        self._competence = Competence.of(self._graph.catalogue, premises.parser, READINGS_KEPT)

    def cast(self) -> Cast:
        writer, judge, obfuscator = (self._voice_or_none(role) for role in ("writer", "judge", "obfuscator"))
        seekers = self._voices("solver")
        return Cast(
            planner=self._planner(),
            browser=self._browser(),
            proposers=self._proposers(),
            solvers=self._solvers(),
            guessers=self._guessers(),
            trial_solvers=self._trial_solvers(),
            obfuscator=LlmObfuscator(obfuscator) if obfuscator else None,
            rewriter=LlmRewriter(writer) if writer else None,
            judge=LlmJudge(judge) if judge else None,
            rival_seekers=tuple(self._rival_seeker(voice) for voice in seekers),
            open_book=LlmOpenBookReader(self._as(seekers[0], "open_book")) if seekers else None,
        )

    def _voices(self, role: str) -> tuple[Voice, ...]:
        """The models that play a role, each as somebody to ask."""
        names = self._config.cast.players(role)  # type: ignore[arg-type]
        return tuple(self._voice(role, name) for name in names)

    def _voice_or_none(self, role: str) -> Voice | None:
        return next(iter(self._voices(role)), None)

    def _voice(self, role: str, name: str) -> Voice:
        if self._premises.client is None:
            raise ConfigError(f"cast.roles.{role} names the model {name}, and no endpoint was opened for it.")
        return Voice(self._premises.client, model_spec(name, self._config.cast.models[name]), role, self._prompts)

    def _as(self, voice: Voice, role: str) -> Voice:
        return Voice(voice.client, voice.model, role, voice.prompts)

    def _planner(self) -> Planner:
        voice = self._voice_or_none("planner")
        return LlmPlanner(voice) if voice else SymbolicPlanner(self._graph.catalogue)

    def _browser(self) -> Browser:
        voice = self._voice_or_none("browser")
        return LlmBrowser(voice, self._graph, self._premises.web) if voice else SymbolicBrowser(self._graph)

    def _proposers(self) -> tuple[Proposer, ...]:
        voices = self._voices("proposer")
        cutoff = self._config.recipes.duetqa.cutoff or DEFAULT_CUTOFF
        rule = self._config.gates.sources.get("duetqa")
        hosts = 1 if rule is None or rule.relaxed else rule.min_hosts
        complete = self._config.knowledge.closed_types
        if voices:
            budget = Budget(self._config.cast.proposer_searches, self._config.cast.proposer_visits)
            return tuple(
                LlmProposer(
                    voice,
                    voice.model.name,
                    self._graph,
                    cutoff=cutoff,
                    min_hosts=hosts,
                    complete_types=complete,
                    budget=budget,
                )
                for voice in voices
            )
        return tuple(
            SymbolicProposer(name, self._competence, kind, cutoff=cutoff, min_hosts=hosts, complete_types=complete)
            for name, kind in (("m1-broad", BROAD), ("m2-deep", DEEP))
        )

    def _solvers(self) -> tuple[Solver, ...]:
        cast = self._config.cast
        solvers: list[Solver] = [open_trained(cast, name).solver(self._budget) for name in self._deciding()]
        for voice in self._voices("solver"):
            turns, chars = cast.solver_turns, cast.solver_context_chars
            solvers.append(LlmSolver(voice, voice.model.name, self._budget, turns=turns, context_chars=chars))
        if solvers:
            return tuple(solvers)
        return TopDownSolver(self._competence, self._budget), BottomUpSolver(self._competence, self._budget)

    def _deciding(self) -> list[str]:
        """Checkpoints that decide, as solvers, what is accepted."""
        cast = self._config.cast
        return [name for name in cast.trained("solver") if not cast.checkpoints[name].tries]

    def _trial_solvers(self) -> tuple[Solver, ...]:
        cast = self._config.cast
        return tuple(
            open_trained(cast, name).solver(self._budget, number)
            for name in cast.trained("solver")
            for number in range(cast.checkpoints[name].tries)
        )

    def _rival_seeker(self, voice: Voice) -> RivalSeeker:
        cast = self._config.cast
        seeker = self._as(voice, "rival")
        return LlmRivalSeeker(seeker, self._budget, turns=cast.solver_turns, context_chars=cast.solver_context_chars)

    def _guessers(self) -> tuple[Guesser, ...]:
        """Models and the prior of the corpus, as many as the config names: each must fail."""
        cast = self._config.cast
        named = cast.roles.get("guesser", ("symbolic",))
        voices, trained = self._voices("guesser"), cast.trained("guesser")
        guessers: list[Guesser] = [LlmGuesser(voices)] if voices else []
        guessers += [open_trained(cast, name).guesser() for name in trained]
        if len(voices) + len(trained) < len(named):
            if self._premises.snapshot is None:
                raise ConfigError("the live web has no prior to guess from: cast.roles.guesser must name models only.")
            guessers.append(PriorGuesser(open_guesser(self._premises.snapshot), self._premises.parser))
        return tuple(guessers)
