"""Who attempts, and who grades: what a process loads once to make the attempts of one plan."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from datagen.agents.llm.judge import LlmJudge
from datagen.agents.llm.policy import LlmPolicy
from datagen.agents.llm.voice import Voice
from datagen.agents.roles import Policy
from datagen.agents.symbolic.page_memory import Competence
from datagen.agents.symbolic.policies import SYMBOLIC_POLICIES
from datagen.clients.chat import ChatClient
from datagen.errors import RunDirectoryError
from datagen.knowledge.graph import FactGraph
from datagen.language.parse import Parser
from datagen.pipeline.calling import model_spec, open_service, plays_models
from datagen.pipeline.casting import READINGS_KEPT, prompt_book
from datagen.pipeline.corpus import graph_folder
from datagen.pipeline.rollout_plan import RULES, RolloutPlan, read_questions
from datagen.pipeline.trained import open_trained
from datagen.rollouts.collect import Assessor
from datagen.rollouts.labels import LabelSettings
from datagen.rollouts.llm_labels import LlmLabeller
from datagen.rollouts.restatements import Restatements
from datagen.rollouts.rewards import StepReward
from datagen.web.snapshot import Snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.tools import Web


@dataclass(frozen=True, slots=True)
class Studio:
    """Policies, the web they search, and who grades them."""

    web: Web
    policies: tuple[Policy, ...]
    assessor: Assessor
    lineage: dict[str, Any]
    client: ChatClient | None
    """None where no model is called."""
    at_once: bool
    """Whether attempts wait for models or checkpoints, which want many of them under way."""
    facts: Restatements
    """Every page that states a clue of the questions; grading looks at it, policies never."""


def open_studio(plan: RolloutPlan) -> Studio:
    """Load everything; the facts behind the snapshot give the catalogue's words and nothing else to a policy."""
    config = plan.config
    snapshot = Snapshot.open(Path(config.web.snapshot))
    if snapshot.digest != plan.snapshot:
        raise RunDirectoryError(
            f"{plan.directory} was planned on the snapshot {plan.snapshot}, and {snapshot.folder} is now {snapshot.digest}. "
            f"Restore it, or choose another folder with --out."
        )
    client: ChatClient | None = None
    if plays_models(config.cast):
        client = open_service(config, plan.directory)
    catalogue = FactGraph.load(graph_folder(snapshot, config.knowledge)).catalogue
    competence = Competence.of(catalogue, Parser(catalogue), READINGS_KEPT)
    return Studio(
        web=SnapshotWeb(snapshot),
        policies=tuple(_policy(plan, name, competence, client) for name in plan.settings.policies),
        assessor=_assessor(plan, client),
        lineage={
            "seed": config.run.seed,
            "snapshot": plan.snapshot,
            "config": plan.digest,
            "catalogue": catalogue.digest,
            "code": f"datagen {version('datagen')}",
            "cast": config.cast.kind,
        },
        client=client,
        at_once=client is not None or bool(config.cast.trained("policy")),
        facts=Restatements.read(snapshot.folder, read_questions(plan, 0, plan.total)),
    )


def _policy(plan: RolloutPlan, name: str, competence: Competence, client: ChatClient | None) -> Policy:
    if name in SYMBOLIC_POLICIES:
        return SYMBOLIC_POLICIES[name](competence)
    if name in plan.config.cast.checkpoints:
        return open_trained(plan.config.cast, name).policy()
    return LlmPolicy(_voice(plan, name, "policy", client))


def _voice(plan: RolloutPlan, name: str, role: str, client: ChatClient | None) -> Voice:
    assert client is not None, "a model among the policies opens a client"
    return Voice(client, model_spec(name, plan.config.cast.models[name]), role, prompt_book(plan.config))


def _assessor(plan: RolloutPlan, client: ChatClient | None) -> Assessor:
    judges = plan.config.cast.players("judge")
    knobs, labeller = plan.settings.step_reward, plan.settings.labeller
    return Assessor(
        judge=LlmJudge(_voice(plan, judges[0], "judge", client)) if judges and client is not None else None,
        labels=LabelSettings(verifications=knobs.verifications),
        labeller=None
        if labeller == RULES
        else LlmLabeller(_voice(plan, labeller, "labeller", client), verifications=knobs.verifications),
        step_reward=StepReward(
            format_weight=knobs.format_weight,
            c1=knobs.c1,
            c2=knobs.c2,
            search_cap=knobs.search_cap,
            query_cap=knobs.query_cap,
        ),
    )
