"""The section on training: which model learns from which rows, how, and on what it is measured.

    [training]              where, seed, threads
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

from pydantic import Field, field_validator, model_validator

from datagen.config.rollouts import StepRewardConfig
from datagen.config.section import Section, Share

TINY = "tiny"
"""The model that is made here, with random weights, instead of being read."""
Split = OneOf["train", "validation", "test"]
Mode = OneOf["greedy", "sampled", "no_search"]


class TinyConfig(Section):
    """Sizes of a Qwen3-shaped model with random weights."""

    layers: int = Field(default=3, ge=1)
    """Blocks."""
    hidden: int = Field(default=96, ge=8)
    """Width of the residual stream."""
    feed_forward: int = Field(default=256, ge=8)
    """Width inside the feed-forward blocks."""
    heads: int = Field(default=3, ge=1)
    """Attention heads; keys and values have as many."""
    positions: int = Field(default=4096, ge=16)
    """Longest sequence, in tokens."""


class LoraConfig(Section):
    """Low-rank adapters that are trained in place of the weights (arXiv 2106.09685)."""

    rank: int = Field(default=32, ge=1)
    """Width of the bottleneck."""
    alpha: float = Field(default=64, gt=0)
    """The adapter is scaled by alpha / rank."""
    dropout: Share = 0.0
    """Share of the adapter's inputs that is dropped; above 0, two passes over the same tokens differ."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Names of the linear layers that get one."""


class TrainedModelConfig(Section):
    """Weights, tokenizer, adapters."""

    path: str = TINY
    """A folder or a name as `transformers` reads it, a checkpoint of an earlier run, or "tiny"."""
    tokenizer: str = ""
    """A tokenizer file or folder; the model's own where empty. The tiny model has one of its own that is made from pages."""
    framing: OneOf["auto", "compact", "chat"] = "auto"
    """How questions, calls and results become tokens: compact has one token for each mark, chat is the model's own
    template; auto is compact for the tiny model and chat for every other."""
    precision: OneOf["auto", "float32", "bfloat16"] = "auto"
    """Of forward and backward passes; weights and optimiser stay in float32. auto is bfloat16 on a GPU."""
    device: str = "auto"
    """Such as "cpu" or "cuda:0"; auto is a GPU where there is one."""
    checkpointing: bool = False
    """Compute activations anew in the backward pass: less memory, about a third more time."""
    tiny: TinyConfig = TinyConfig()
    lora: LoraConfig | None = None
    """Train adapters; all weights are trained where the section is missing."""


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
    max_tokens: int = Field(default=4096, ge=16)
    """Longer sequences are left out, and counted."""


class OptimizerConfig(Section):
    """Optimiser and schedule."""

    kind: OneOf["adamw", "muon"] = "adamw"
    """muon: Muon for the matrices inside the blocks, AdamW for the rest."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Of AdamW."""
    muon_learning_rate: float = Field(default=1.5e-2, gt=0)
    """Of Muon."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decays of AdamW's two moments."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled, of matrices alone."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Longest gradient; longer ones are scaled down."""
    schedule: OneOf["constant", "linear", "cosine"] = "constant"
    """How the rate falls after the warm-up."""
    warmup: int = Field(default=0, ge=0)
    """Updates over which the rate rises from 0."""
    floor: Share = 0.05
    """Share of the rate that is left at the end of a falling schedule."""

    @field_validator("betas")
    @classmethod
    def _are_decays(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are at least 0 and below 1, not {betas}")
        return betas


class SftConfig(Section):
    """Imitation: the loss is the mean negative log-likelihood of the tokens that the policy wrote, over a whole update."""

    updates: int = Field(default=400, ge=1)
    """Updates of the weights, at most; the schedule is laid over as many."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens of sequences, read or written, after which imitation ends even if updates are left."""
    rows_per_update: int = Field(default=16, ge=1)
    """Attempts of one update."""
    tokens_per_bin: int = Field(default=8192, ge=16)
    """Tokens of one forward pass."""
    optimizer: OptimizerConfig = OptimizerConfig(schedule="cosine", warmup=20)
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
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-6)
    """Optimiser and schedule of preference learning."""


class SamplingConfig(Section):
    """How the policy attempts a question while it learns, and what it may spend."""

    temperature: float = Field(default=1.0, gt=0)
    """There is no cut at likely tokens, for that would bias the ratio."""
    turns: int = Field(default=32, ge=1)
    """Turns of one attempt, at most."""
    turn_tokens: int = Field(default=1024, ge=1)
    """Tokens of one turn, at most."""
    context_tokens: int = Field(default=4096, ge=16)
    """Tokens of one attempt, what is read included; an attempt that reaches it ends."""
    searches: int = Field(default=16, ge=0)
    """Searches of one attempt, at most."""
    visits: int = Field(default=32, ge=0)
    """Windows of pages of one attempt, at most."""
    in_flight: int = Field(default=128, ge=1)
    """Attempts under way at once."""


class StageConfig(Section):
    """A part of reinforcement with settings of its own; what is unset is as in [training.rl]."""

    name: str
    """Names the stage in curves and in the report."""
    updates: int | None = Field(default=None, ge=0)
    """Batches of questions."""
    epochs: float | None = Field(default=None, gt=0)
    """The same, as passes over the questions at the beginning of the stage; `updates` goes before."""
    algorithm: str | None = None
    """A preset."""
    overrides: dict[str, Any] = {}
    """Settings laid over the preset and over [training.rl.overrides]."""
    reward: str | None = None
    """A form of reward."""
    step_reward: StepRewardConfig | None = None
    """Constants of the step-level reward."""
    releases: tuple[str, ...] = ()
    """Other questions than those of [training.data]."""
    unsolved_below: Share | None = None
    """Keep the questions that the policy answers in a smaller share of its attempts, tried once when the stage begins:
    Fathom filters its second stage against the first stage's weights."""
    temperature: float | None = Field(default=None, gt=0)
    """Another temperature."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Another rate of AdamW."""


class RlConfig(Section):
    """Improvement by attempts of its own."""

    algorithm: str = "rapo"
    """A preset: grpo, dapo, dr_grpo, gspo, cispo, rapo."""
    overrides: dict[str, Any] = {}
    """Settings laid over the preset, such as {clip_high = 0.28}."""
    updates: int = Field(default=100, ge=0)
    """Batches of questions of a stage that does not say how many."""
    questions: int = Field(default=32, ge=1)
    """Questions of one batch."""
    attempts: int = Field(default=5, ge=2)
    """Attempts at each question: the group that is compared."""
    minibatches: int = Field(default=1, ge=1)
    """Updates of the weights from one batch."""
    reward: str = "vanilla"
    """vanilla (0.1 for form, 0.9 for the answer), step (step-level), or another form of `datagen.rollouts.rewards`:
    webexplorer, infoseek, arpo, clues; or `package.module:function`, called with the graded trajectory."""
    step_reward: StepRewardConfig = StepRewardConfig()
    """Constants of the step-level reward; its caps C_S and C_Q steer how much is searched."""
    sampling: SamplingConfig = SamplingConfig()
    """How the policy attempts a question while it learns."""
    tokens_per_bin: int = Field(default=8192, ge=16)
    """Tokens of one forward pass."""
    old_logprobs: OneOf["recompute", "behaviour"] = "recompute"
    """What the ratio is taken to: log-probabilities of the learner before the update, or those that the engine gave."""
    kl_to_start: bool = False
    """Keep the weights that the stage began with as the reference of a KL term."""
    staleness: int = Field(default=0, ge=0)
    """Batches that sampling may run ahead; 0 waits for the update, which alone can be repeated bit for bit."""
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-6)
    """Optimiser and schedule; the schedule is laid over a stage."""
    stages: tuple[StageConfig, ...] = (StageConfig(name="rl"),)
    """Parts, one after the other: [[training.rl.stages]]."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"stages need names, each another one; they are {', '.join(names) or 'none'}")
        if self.minibatches > self.questions:
            raise ValueError(f"{self.minibatches} minibatches cannot be made of {self.questions} questions")
        return self

    def stage(self, number: int) -> RlConfig:
        """The section as stage `number` changes it, with that stage alone."""
        stage = self.stages[number]
        changed: dict[str, Any] = {"stages": (stage,), "overrides": self.overrides | stage.overrides}
        for name in ("updates", "algorithm", "reward", "step_reward"):
            if getattr(stage, name) is not None:
                changed[name] = getattr(stage, name)
        if stage.temperature is not None:
            changed["sampling"] = self.sampling.model_copy(update={"temperature": stage.temperature})
        if stage.learning_rate is not None:
            changed["optimizer"] = self.optimizer.model_copy(update={"learning_rate": stage.learning_rate})
        return self.model_copy(update=changed)


class EngineConfig(Section):
    """Who samples."""

    kind: OneOf["local", "server"] = "local"
    """local: this process, with the learner's own weights; server: vLLM at `urls`."""
    urls: tuple[str, ...] = ()
    """Such as "http://localhost:8000"; several are replicas, and a conversation stays with one of them."""
    model: str = ""
    """What the servers call the model."""
    sync: OneOf["adapter", "weights", "reload"] = "adapter"
    """How servers get new weights: a new adapter (LoRA), all weights over the wire, or a folder to read again."""
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
    threads: int | None = Field(default=None, ge=1)
    """Threads of torch; as many as torch finds where unset."""
    preface: str = ""
    """A sentence for the first line of the report, such as in what way the start was weakened on purpose."""
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
        names = [one.name for one in self.evaluation.sets]
        if len(set(names)) < len(names):
            raise ValueError(f"evaluation.sets need names, each another one; they are {', '.join(names)}")
        return self


NOT_TRAINING_IDENTITY = {
    "directory": "location, not content",
    "threads": "timing; sums of floats may differ in their last bits, which is why a bitwise resume keeps it",
    "engine.urls": "where a model is served",
    "checkpoints": "what is kept, not what is trained",
    "evaluation": "measuring changes no weight",
    "preface": "words of the report",
}
"""Keys and whole sections that cannot change a trained weight, each with its reason."""


def changed_training_keys(saved: TrainingConfig, current: TrainingConfig) -> list[str]:
    """Dotted keys whose difference would change what is trained: a resume under them is refused."""
    old, new = _identity(saved), _identity(current)
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _identity(config: TrainingConfig) -> dict[str, Any]:
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
