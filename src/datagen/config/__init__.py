"""What a run is: small frozen sections read from a TOML file, closed to unknown keys, with a digest.

The docstring under a field is its only description. Paths are relative to the folder the command runs in. `--set
section.key=value` overlays one key, and the resolved config is written into the run directory before anything else.

    [web]        which pages, and how they are read
    [knowledge]  how pages become facts, and what may be taken as given
    [recipes]    shapes of questions, a section for each recipe
    [gates]      what a question must pass
    [cast]       who plays the roles: programs, or models at endpoints (`cast.file` may hold this section)
    [rollouts]   attempts at the questions: who, how often, and what they may spend
    [training]   a policy that learns from attempts, and from attempts of its own
    [run]        seed, how many questions, waves, shards, workers
    [release]    the folder that readers get

Identity: two configs with one digest give the same rows. `NOT_IDENTITY` lists what the digest leaves out, one reason
each; everything else is identity, so a run is resumed only when `changed_keys` is empty.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from typing import Literal as OneOf

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from datagen.config.cast import SYMBOLIC, CastConfig, EndpointConfig, ModelConfig, RoleName, with_cast_file
from datagen.config.live import LiveConfig
from datagen.config.rollouts import RolloutsConfig
from datagen.config.section import Section, Share
from datagen.config.training import TrainingConfig
from datagen.errors import ConfigError
from datagen.records.ids import content_id
from datagen.records.shipped import shipped_file

DIGEST_VERSION = 1

NOT_IDENTITY = {
    "web": "a run keeps the digest of its snapshot, or what it saw of the live web, and a resume goes on from there",
    "run.directory": "location, not content",
    "run.shard_size": "tables are assembled in candidate order, whatever the shards were",
    "run.workers": "timing only",
    "run.runner": "timing only",
    "rollouts": "attempts come after the questions; a rollout directory keeps an identity of its own",
    "training": "learns from the rows; a training directory keeps an identity of its own",
    "release": "applied after the rows are made",
    "cast.file": "its contents are laid into the section",
    "cast.endpoints": "where a model is served; which model, and how it is sampled, is identity",
    "cast.budget_usd": "when to stop, not what to make",
    "cast.prices": "what rows cost is measured, not chosen",
    "cast.cache": "location, not content",
    "cast.retry_seconds": "timing only",
    "cast.concurrency": "timing only",
}
"""Keys and whole sections that cannot change a row, each with its reason."""

Recipe = OneOf["infoseek", "duetqa"]
Weight = Annotated[float, Field(ge=0)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class WebConfig(Section):
    """Which pages, and how they are read."""

    snapshot: str = "out/snapshot"
    """Folder of the frozen corpus; it is built from `sources` where it does not exist yet."""
    sources: tuple[str, ...] = ()
    """Where pages come from: `pages.warc.gz`, `wiki.zim`, a folder of HTML, `rows.jsonl`, `rows.parquet`,
    `synthetic:seed=7,pages=4000`. May be empty when the snapshot exists."""
    extraction: OneOf["trafilatura", "fast"] = "trafilatura"
    """trafilatura keeps the most text and metadata; fast (resiliparse) is for large corpora."""
    workers: int = Field(default=2, ge=1)
    """Extraction processes."""
    live: LiveConfig | None = None
    """Search and fetch on the live web instead of a snapshot; `datagen replay` makes the rows again from what was seen."""


class KnowledgeConfig(Section):
    """How pages become facts, and what may be taken as given."""

    catalogue: str = "induced"
    """`synthetic` (the shipped ontology), `induced` (relations found in the pages' own labels), or a catalogue file."""
    closed_types: tuple[str, ...] = ()
    """Entity types of which every member has a page here. An assumption: rows that rest on it say so."""
    silent_relations: tuple[str, ...] = ()
    """Relations whose absence from a page means that they do not hold. An assumption: rows that rest on it say so."""


class InfoseekConfig(Section):
    """Shapes of research trees."""

    depth: dict[int, Weight] = {2: 0.55, 3: 0.3, 4: 0.1, 5: 0.05}
    """Weights of tree depths."""
    vertices: dict[int, Weight] = {
        3: 0.05, 4: 0.2, 5: 0.25, 6: 0.25, 7: 0.1, 8: 0.06, 9: 0.04, 10: 0.03, 11: 0.01, 12: 0.01
    }  # fmt: skip
    """Weights of tree sizes."""
    ask_share: Share = 0.3
    """Share of trees whose answer is a literal of the root (a date, a number) instead of its name."""
    max_steps: int = Field(default=40, ge=1)
    """Actions after which an unfinished tree is given up."""
    obfuscate: Share = 0.5
    """Chance that a clue that could be vaguer is made so."""


class DuetqaConfig(Section):
    """Self-play questions."""

    theme_counts: tuple[int, ...] = (5, 6, 7)
    """How many themes one candidate samples, each count as likely as the others."""
    domains: tuple[str, ...] = ()
    """Domains of the taxonomy to sample themes from, such as "energy"; empty for all of them."""
    seeded_share: Share = 0.5
    """Share of candidates that rebuild a seed question's skeleton; the others mix themes freely."""
    obfuscate: Share = 0.8
    """Chance that a clue that could be vaguer is made so."""
    cutoff: Day | None = None
    """Day (ISO) that the newest hop must reach, such as a model's training cut-off."""


class RecipesConfig(Section):
    """Shapes of questions, one section for each recipe."""

    infoseek: InfoseekConfig = InfoseekConfig()
    duetqa: DuetqaConfig = DuetqaConfig()


class SourceRuleConfig(Section):
    """How varied the evidence of one recipe has to be."""

    min_hosts: int = Field(default=1, ge=1)
    """Hosts that the evidence comes from, at least."""
    min_kinds: int = Field(default=1, ge=1)
    """Kinds of publication, at least."""
    max_encyclopedia_share: Share = 1.0
    """Share of encyclopedia pages in the evidence, at most."""
    relaxed: bool = False
    """A miss passes, and the row says so under `relaxed_gates`: for a corpus that cannot meet the rule."""


class GatesConfig(Section):
    """What a question must pass."""

    min_identifying_clues: int = Field(default=2, ge=2)
    """A smallest identifying subset below this means that the rest of the question is idle."""
    min_documents: int = Field(default=2, ge=1)
    """Fewest pages that together state all clues."""
    shortcut_top_k: int = Field(default=1, ge=1)
    """The answer may not be readable among this many first results of the question, or of one clue, as a query."""
    prior_attempts: int = Field(default=3, ge=1)
    """Guesses without tools, all of which must be wrong."""
    min_tool_calls: int = Field(default=2, ge=1)
    """Searches plus visits that every solver needed, at least."""
    max_answer_words: int = Field(default=12, ge=1)
    """Longer answers cannot be graded by comparison."""
    fresh_recipes: tuple[Recipe, ...] = ("duetqa",)
    """Recipes whose newest evidence must reach `recipes.duetqa.cutoff`."""
    sources: dict[Recipe, SourceRuleConfig] = {"duetqa": SourceRuleConfig(min_hosts=2, min_kinds=2)}
    """The variety wanted of each recipe's evidence."""
    benchmarks: tuple[str, ...] = ()
    """JSONL files of public evaluation sets that no question may repeat."""
    rival_attempts: int = Field(default=3, ge=1)
    """Searches for another answer that a question without a certificate has to stand, each in a fresh context."""
    oracle_attempts: int = Field(default=0, ge=0)
    """Tries to answer from the gold pages among distractors, all of which must succeed; 0 leaves the check out."""
    oracle_distractors: int = Field(default=4, ge=0)
    """Distractors beside the gold pages: the best hits of the question and its clues that are not evidence."""
    closed_book_audit: int = Field(default=1, ge=0)
    """Guesses on accepted questions that stop nothing: the rate of lucky guesses that is left, for the card."""


class RunSection(Section):
    """Seed, waves, shards, workers."""

    directory: str = "out/run"
    """The run directory: resolved config, shards, manifest."""
    seed: int = Field(default=7, ge=0)
    """Every draw of the run descends from it."""
    target: dict[Recipe, Annotated[int, Field(ge=0)]] = {"infoseek": 100, "duetqa": 100}
    """Accepted questions wanted of each recipe; the release holds exactly so many."""
    wave_size: int = Field(default=512, ge=1)
    """Candidates made before accepted questions are counted again; up to one wave of work is surplus."""
    max_candidates_per_question: int = Field(default=50, ge=1)
    """Give up on a recipe, and end with exit code 3, after this many candidates for each question wanted of it."""
    shard_size: int = Field(default=64, ge=1)
    """Candidates of one task; aim at 5 seconds of work or more, so that orchestration stays under 2 %."""
    workers: int = Field(default=2, ge=1)
    """Shards in flight."""
    runner: OneOf["serial", "process", "thread", "ray", "dask"] = "process"
    """serial and process run anywhere; thread, process, ray and dask are the task runners of the flows."""

    @field_validator("target")
    @classmethod
    def _wants_something(cls, target: dict[str, int]) -> dict[str, int]:
        if not any(target.values()):
            raise ValueError("at least one recipe must have a target above 0")
        return target


class ReleaseConfig(Section):
    """The folder that readers get."""

    directory: str = "out/release"
    """Where the release is written."""
    name: str = "Search-dependent questions"
    """Name of the dataset on its card."""
    source: str = "Pages given by the user."
    """One or two sentences on the pages, for the card."""
    licence: str = "other"
    """Licence id of the release; share-alike pages make a share-alike release."""
    licence_note: str = "The quoted evidence keeps the licence of its pages."
    """What the card says about the licence."""
    languages: tuple[str, ...] = ("en",)
    """Languages of the questions."""
    fictional: bool = False
    """True where nothing in the pages exists."""
    known_faults: tuple[str, ...] = ()
    """What a reader should know before using the data, for the card."""


class DatagenConfig(Section):
    """The whole file."""

    web: WebConfig = WebConfig()
    knowledge: KnowledgeConfig = KnowledgeConfig()
    recipes: RecipesConfig = RecipesConfig()
    gates: GatesConfig = GatesConfig()
    cast: CastConfig = CastConfig()
    rollouts: RolloutsConfig | None = None
    """Attempts at the accepted questions; none are made where the section is missing."""
    training: TrainingConfig | None = None
    """A policy that learns from the rows; nothing is trained where the section is missing."""
    run: RunSection = RunSection()
    release: ReleaseConfig = ReleaseConfig()

    @model_validator(mode="after")
    def _can_live(self) -> Self:
        """The live web has no facts read beforehand: programs that need them cannot play there."""
        if self.web.live is None:
            return self
        if self.run.target.get("infoseek"):
            raise ValueError(
                "web.live: research trees grow over facts, which only a snapshot has; set run.target to duetqa alone"
            )
        roles: tuple[RoleName, ...] = ("proposer", "writer", "solver", "guesser")
        missing = [role for role in roles if not self.cast.players(role)]
        if missing:
            raise ValueError(f"web.live needs models to play {', '.join(missing)}; name a cast with cast.file")
        return self

    @property
    def digest(self) -> str:
        """Identity of the rows that this config makes from a given snapshot."""
        return content_id(f"cfg{DIGEST_VERSION}", _identity(self))


def load_config(path: str | Path, overlays: Iterable[str] = ()) -> DatagenConfig:
    """Read a TOML file, or a shipped preset by its name, and lay `section.key=value` overlays over it."""
    if str(path).isidentifier() and not Path(path).is_file():
        path = shipped_file(f"presets/{path}.toml")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read ({exc.strerror}); presets are in data/presets/.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text; a config is a TOML file.") from exc
    return parse_config(text, str(path), overlays)


def parse_config(text: str, name: str, overlays: Iterable[str] = ()) -> DatagenConfig:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{name} is not TOML: {exc}.") from exc
    return _validated(raw, name, overlays)


def overlay_config(config: DatagenConfig, overlays: Iterable[str]) -> DatagenConfig:
    """The config with `section.key=value` laid over it."""
    return _validated(config.model_dump(mode="json"), "the overlaid config", overlays)


def _validated(raw: dict[str, Any], name: str, overlays: Iterable[str]) -> DatagenConfig:
    for overlay in overlays:
        _overlay(raw, overlay)
    if isinstance(raw.get("cast"), dict):
        raw["cast"] = with_cast_file(raw["cast"])
    try:
        return DatagenConfig.model_validate(raw)
    except ValidationError as exc:
        raise ConfigError(f"{name}: {'; '.join(_sentence(error) for error in exc.errors())}.") from exc


def changed_keys(saved: DatagenConfig, current: DatagenConfig) -> list[str]:
    """Dotted keys whose difference would change rows."""
    old, new = _identity(saved), _identity(current)
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _identity(config: DatagenConfig) -> dict[str, Any]:
    flat = _flatten(config.model_dump(mode="json"))
    return {key: value for key, value in flat.items() if not _is_excluded(key)}


def _is_excluded(key: str) -> bool:
    return any(key == excluded or key.startswith(f"{excluded}.") for excluded in NOT_IDENTITY)


def _flatten(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"run": {"seed": 7}} -> {"run.seed": 7}"""
    flat: dict[str, Any] = {}
    for key, value in section.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _overlay(raw: dict[str, Any], overlay: str) -> None:
    key, separator, text = overlay.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {overlay!r} is not of the form section.key=value.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        # A bare word is a string, so that --set run.runner=serial needs no inner quotes; `none` leaves a section out,
        # as in --set rollouts=none, for TOML has no word for that.
        value = None if text == "none" else text
    *parents, last = key.strip().split(".")
    target = raw
    for parent in parents:
        if target.get(parent) is None:  # an optional section that is not there yet
            target[parent] = {}
        target = target[parent]
        if not isinstance(target, dict):
            raise ConfigError(f"--set {overlay!r}: {parent!r} is not a section.")
    target[last] = value


def _sentence(error: Any) -> str:
    """One pydantic error as "unknown key `sede` in [run]; did you mean `seed`?"."""
    location = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(location) or 'the file'}: {error['msg'].removeprefix('Value error, ')}"
    *parents, key = location
    section = f"[{'.'.join(parents)}]" if parents else "the top level"
    valid = _valid_keys(parents)
    close = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    hint = f"did you mean `{close[0]}`?" if close else f"valid keys are {', '.join(valid)}"
    return f"unknown key `{key}` in {section}; {hint}"


def _valid_keys(parents: list[str]) -> list[str]:
    model: type[BaseModel] = DatagenConfig
    for part in parents:
        if part not in model.model_fields:
            continue  # the key of a table such as gates.sources.duetqa
        annotation = model.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        model = next(a for a in inner if isinstance(a, type) and issubclass(a, BaseModel))
    return sorted(model.model_fields)


__all__ = [
    "SYMBOLIC",
    "CastConfig",
    "DatagenConfig",
    "EndpointConfig",
    "LiveConfig",
    "ModelConfig",
    "RoleName",
    "TrainingConfig",
    "load_config",
]
