"""The section on training: which model learns from which rows, how, and on what it is measured.

    [training]              where, seed, threads
    [[training.practice]]   plain questions made for it
    [training.model]        weights, tokenizer, adapters
    [training.data]         which rows of which releases
    [training.sft]          imitation of attempts               left out: no imitation
    [training.dpo]          preference between attempts         left out: none
    [training.rl]           improvement by attempts of its own  left out: none
    [[training.rl.stages]]  one after the other, each with what it changes
    [training.engine]       who samples: this process, or servers
    [training.evaluation]   on which questions, how often
    [training.checkpoints]  how many are kept

The stages run in this order, and each begins with the weights that the one before left. Figures of Fathom-DeepResearch
are those of arXiv 2509.24107 (spec fathom §2.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self
from typing import Literal as OneOf

from pydantic import Field, model_validator

from datagen.config.learner import OptimizerConfig, TrainedModelConfig
from datagen.config.practice import PracticeConfig
from datagen.config.reinforcement import RlConfig, SamplingConfig
from datagen.config.section import Section

Split = OneOf["train", "validation", "test"]
Mode = OneOf["greedy", "sampled", "no_search"]


class TrainingDataConfig(Section):
    """Which rows of which releases."""

    releases: tuple[str, ...] = ("out/demo/release",)
    """Release folders, globs of shards, or URLs; their rows are mixed."""
    split: Split = "train"
    """The split that is trained on."""
    verified: bool = True
    """Imitate only attempts that are right, with every clue evidenced and the answer not named before it was seen."""
    policies: tuple[str, ...] = ()
    """Imitate only these policies; all where empty."""
    recipes: tuple[str, ...] = ()
    """Only questions of these recipes; all where empty."""
    rename: bool = False
    """Give entities of web.snapshot other names at every reading of an attempt, so that copying is learned and nothing is
    remembered. For models that begin with random weights, and webs in which names mean nothing."""
    max_tokens: int = Field(default=4096, ge=16)
    """Longer sequences are left out, and counted."""


class SftOptimizerConfig(OptimizerConfig):
    """The optimiser of imitation."""

    warmup: int = Field(default=20, ge=0)
    """Updates over which the rate rises from 0."""
    schedule: OneOf["constant", "linear", "cosine"] = "cosine"
    """How the rate falls after the warm-up."""


class DpoOptimizerConfig(OptimizerConfig):
    """The optimiser of preference learning, which takes small steps."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """Of AdamW."""


class SftConfig(Section):
    """Imitation: the loss is the mean negative log-likelihood of the tokens that the policy wrote, over a whole update."""

    updates: int = Field(default=400, ge=1)
    """Updates of the weights, at most; the schedule is laid over as many."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens of sequences, read or written, after which imitation ends even if updates are left."""
    rows_per_update: int = Field(default=16, ge=1)
    """Attempts of one update."""
    context_weight: float = Field(default=0.0, ge=0)
    """Weight of the mean negative log-likelihood of all other tokens: questions and results. A model that begins with
    random weights learns to copy names from them; a pretrained one needs none."""
    context_share: float = Field(default=1.0, gt=0, le=1)
    """Share of these tokens that an update looks at, drawn anew each time: what a token costs at the head grows with the
    vocabulary. The mean is over those drawn, with the same expectation and more noise."""
    context_whole_until: int = Field(default=0, ge=0)
    """Updates at the beginning that look at all of these tokens, such as those before copying is learned, which is sudden."""
    tokens_per_bin: int = Field(default=8192, ge=16)
    """Tokens of one forward pass."""
    optimizer: SftOptimizerConfig = SftOptimizerConfig()
    """Optimiser and schedule of imitation."""


class DpoConfig(Section):
    """Preference between attempts, on the tokens that the policy wrote (arXiv 2305.18290)."""

    updates: int = Field(default=100, ge=1)
    """Updates of the weights, at most."""
    pairs_per_update: int = Field(default=8, ge=1)
    """Pairs of one update."""
    tokens_per_bin: int = Field(default=8192, ge=16)
    """Tokens of one forward pass; the two of a pair always share one."""
    beta: float = Field(default=0.1, gt=0)
    """How strongly the policy is held to where it began."""
    per_token: bool = False
    """Divide each log-ratio by its tokens, so that length alone earns nothing."""
    rules: tuple[str, ...] = ()
    """Only pairs that these rules made; all where empty."""
    optimizer: DpoOptimizerConfig = DpoOptimizerConfig()
    """Optimiser and schedule of preference learning."""


class EngineConfig(Section):
    """Who samples."""

    kind: OneOf["local", "server"] = "local"
    """local: this process, with the learner's own weights; server: vLLM at `urls`."""
    urls: tuple[str, ...] = ()
    """Such as "http://localhost:8000"; several are replicas, and a conversation stays with one of them."""
    model: str = ""
    """What the servers call the model."""
    sync: OneOf["adapter", "weights", "reload"] = "adapter"
    """How servers get new weights. adapter: a new one, for models with [training.model.lora]. Where all weights are trained,
    weights: through vLLM's routes for weights, as files, for servers with a transfer backend "file"; reload: a checkpoint
    folder to read again. Servers have to see the folder of the run."""
    max_batch: int = Field(default=64, ge=1)
    """local: sequences that are sampled together."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if self.kind == "server" and not self.urls:
            raise ValueError('kind = "server" needs urls, such as ["http://localhost:8000"]')
        return self


class EvaluationSetConfig(Section):
    """Questions over one snapshot."""

    name: str
    """Names the set in tables and curves."""
    questions: str
    """A release folder, or a file with a questions table."""
    snapshot: str = ""
    """The snapshot that is searched; web.snapshot where empty."""
    split: Split = "test"
    """The split, where `questions` is a release."""
    count: int | None = Field(default=None, ge=1)
    """Only so many questions, the first of the table."""


class EvaluationSection(Section):
    """On what, and how often."""

    sets: tuple[EvaluationSetConfig, ...] = ()
    """[[training.evaluation.sets]]; none are measured where empty."""
    every: int = Field(default=0, ge=0)
    """Updates between two measurements; 0 measures at the end of a stage alone."""
    modes: tuple[Mode, ...] = ("greedy",)
    """greedy; sampled: the temperature of 1; no_search: an answer at once, without tools."""
    attempts: int = Field(default=1, ge=1)
    """Attempts at each question when sampled."""
    sampling: SamplingConfig | None = None
    """What an attempt may spend; as in [training.rl.sampling] where the section is missing."""
    final_modes: tuple[Mode, ...] = ("greedy", "sampled", "no_search")
    """What is measured at the end of a stage."""


class CheckpointsConfig(Section):
    """How many are kept."""

    every: int = Field(default=50, ge=1)
    """Updates between two checkpoints; the end of a stage has one as well."""
    keep: int = Field(default=2, ge=1)
    """The newest that stay; the last of a stage always does."""


class TrainingConfig(Section):
    """Where, seed, threads, and the parts."""

    directory: str = "out/train"
    """Folder of the run: config, checkpoints, curves, report, and the model."""
    seed: int = Field(default=7, ge=0, lt=1 << 63)
    """Every draw descends from it."""
    stop_on: tuple[str, ...] = ()
    """Rules whose alarm ends the run, such as not_a_number or no_calls; the last checkpoint stays, to resume from. Without
    any, alarms are recorded and shown."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of torch; as many as torch finds where unset."""
    preface: str = ""
    """A sentence for the first line of the report, such as in what way the start was weakened on purpose."""
    arms: dict[str, str] = {}
    """[training.arms]: name -> a config or preset of a training that goes on from this one's policy. The flow runs them side
    by side and sets them beside each other in one report; `datagen train` runs this one alone."""
    practice: tuple[PracticeConfig, ...] = ()
    """[[training.practice]]: plain questions that are made before anything is trained, where they are missing."""
    model: TrainedModelConfig = TrainedModelConfig()
    data: TrainingDataConfig = TrainingDataConfig()
    sft: SftConfig | None = None
    """Imitation; left out where the section is missing."""
    dpo: DpoConfig | None = None
    """Preference; left out where the section is missing."""
    rl: RlConfig | None = None
    """Reinforcement; left out where the section is missing."""
    engine: EngineConfig = EngineConfig()
    evaluation: EvaluationSection = EvaluationSection()
    checkpoints: CheckpointsConfig = CheckpointsConfig()

    @model_validator(mode="after")
    def _trains(self) -> Self:
        if self.sft is None and self.dpo is None and self.rl is None:
            raise ValueError("nothing is trained: add [training.sft], [training.dpo] or [training.rl]")
        if self.rl is not None and self.rl.staleness and self.engine.kind == "local":
            raise ValueError(
                "rl.staleness above 0 needs servers: in one process nothing can be sampled while weights change"
            )
        names = [one.name for one in self.evaluation.sets]
        if len(set(names)) < len(names):
            raise ValueError(f"evaluation.sets need names, each another one; they are {', '.join(names)}")
        return self


NOT_TRAINING_IDENTITY = {
    "directory": "location, not content",
    "practice": "what it makes is read through data and evaluation, and is refused there where it has changed",
    "threads": "timing; sums of floats may differ in their last bits, which is why a bitwise resume keeps it",
    "engine.urls": "where a model is served",
    "checkpoints": "what is kept, not what is trained",
    "evaluation": "measuring changes no weight",
    "preface": "words of the report",
    "stop_on": "when it ends, not what is trained until then",
    "arms": "trained after it, in folders of their own",
}
"""Keys and whole sections that cannot change a trained weight, each with its reason."""


def changed_training_keys(saved: TrainingConfig, current: TrainingConfig) -> list[str]:
    """Dotted keys whose difference would change what is trained: a resume under them is refused."""
    old, new = training_identity(saved), training_identity(current)
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def training_identity(config: TrainingConfig) -> dict[str, Any]:
    """Dotted keys and values of what can change a weight."""
    flat = _flat(config.model_dump(mode="json"))
    return {
        key: value
        for key, value in flat.items()
        if not any(key == out or key.startswith(f"{out}.") for out in NOT_TRAINING_IDENTITY)
    }


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
