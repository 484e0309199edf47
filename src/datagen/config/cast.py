"""The section on who plays the roles, and where the models are served."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from typing import Literal as OneOf

from pydantic import Field, field_validator, model_validator

from datagen.config.section import Section, Share
from datagen.errors import ConfigError
from datagen.records.shipped import shipped_file

RoleName = OneOf[
    "planner", "browser", "proposer", "obfuscator", "writer", "solver", "guesser", "judge", "policy", "labeller"
]
SYMBOLIC = "symbolic"


class EndpointConfig(Section):
    """A server of models. Keys never stand here: `api_key_env` names the variable that holds one."""

    engine: OneOf["openai", "vllm", "vllm_async"] = "openai"
    """openai: any chat-completions server (vLLM, SGLang, llama.cpp, hosted); vllm: a model loaded in this process, calls
    in batches; vllm_async: the same, every call joins the running batch at once."""
    base_url: str | tuple[str, ...] = ""
    """Such as "http://localhost:8000/v1"; several are replicas of one server."""
    identity: str = ""
    """Names the server in the cache, so that replies outlive a move to another address; the base URL where empty."""
    api_key_env: str = Field(default="", pattern=r"^[A-Z_][A-Z0-9_]*$|^$")
    """Environment variable with the key; empty for a server without one."""
    max_in_flight: int = Field(default=64, ge=1)
    """Calls at once, at most; fewer while the server throttles."""
    start_in_flight: int = Field(default=8, ge=1)
    """Calls at once in the beginning."""
    attempts: int = Field(default=6, ge=1)
    """Tries of one call, the first included."""
    timeout_seconds: float = Field(default=180, gt=0)
    """How long one try may take in all."""
    stream: bool = False
    """Read replies as they are written, for gateways that cut silent connections; costs a little processor time."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """A fixed rate, for services that sell one."""
    engine_options: dict[str, Any] = {}
    """vllm, vllm_async: arguments of the engine, such as tensor_parallel_size."""


class ModelConfig(Section):
    """A model at an endpoint, and how it is sampled."""

    endpoint: str
    """Name of a table under cast.endpoints."""
    model: str
    """As the server calls it."""
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=2048, ge=1)
    """Tokens of one reply, at most."""
    structured: OneOf["json_schema", "prompt"] = "json_schema"
    """json_schema: the server enforces the schema of a reply; prompt: it is told the schema, and replies are checked."""
    extra: dict[str, Any] = {}
    """Other fields of the request, such as chat_template_kwargs."""


class CheckpointConfig(Section):
    """A policy that was trained here, and how it is sampled when it plays."""

    path: str
    """Folder of the trained model, as training writes it."""
    opened_by: str = Field(default="datagen.training.playing:open_player", pattern=r"^[\w.]+:\w+$")
    """`package.module:function` that opens the folder; another package may bring its own."""
    digest: str = ""
    """Filled in when a run starts: the weights are part of what makes its rows."""
    tries: int = Field(default=0, ge=0)
    """As a solver: tries at every accepted question, which stop nothing; the share that succeeds is its difficulty for
    this policy. 0 lets the solver decide what is accepted, like any other."""
    temperature: float = Field(default=1.0, ge=0)
    """0 takes the likeliest token: then all tries of one question are equal."""
    turns: int = Field(default=16, ge=1)
    """Turns of one attempt, at most."""
    turn_tokens: int = Field(default=512, ge=1)
    """Tokens of one turn, at most."""
    context_tokens: int = Field(default=4096, ge=16)
    """Tokens of one attempt, what is read included."""
    max_batch: int = Field(default=64, ge=1)
    """Sequences that are sampled together."""
    device: str = "auto"
    """Such as "cpu" or "cuda:0"; auto is a GPU where there is one."""


class CastConfig(Section):
    """Who plays the roles."""

    kind: OneOf["symbolic", "llm"] = "symbolic"
    """symbolic: programs that see the two tools and the text of pages, no model, no key; llm: models where `roles` names
    them, programs elsewhere."""
    file: str = ""
    """A TOML file with this section's keys, or the name of a shipped cast (local, practice); what stands here goes before
    what stands there."""
    endpoints: dict[str, EndpointConfig] = {}
    """Servers by name."""
    models: dict[str, ModelConfig] = {}
    """Models by name."""
    checkpoints: dict[str, CheckpointConfig] = {}
    """Policies that were trained here, by name. They play solver, guesser and policy."""
    roles: dict[RoleName, tuple[str, ...]] = {}
    """Who plays what: names of models or checkpoints, or "symbolic". Solvers all have to agree; guessers all have to
    fail."""
    prompts: str = ""
    """Folder of prompt files; the shipped ones where empty."""
    prompt_digests: dict[str, str] = {}
    """Filled in when a run starts: the prompts are part of what makes its rows."""
    budget_usd: float | None = Field(default=None, gt=0)
    """The run stops, with exit code 4, before a call that could pass this sum; raise it and resume."""
    prices: str = ""
    """A dated price file; the shipped one where empty."""
    cache: str = "out/cache"
    """Folder of replies already paid for; runs share it."""
    retry_seconds: float = Field(default=0.5, ge=0)
    """Pause before a failed call is tried again; it doubles with every try. What a server asks for goes before."""
    concurrency: int = Field(default=64, ge=1)
    """Candidates in the making at once in one process."""
    rewriter_share: Share = 1.0
    """Share of certified questions that the writer says in its own words."""
    solver_searches: int = Field(default=40, ge=1)
    """Searches that one attempt of a solver may spend."""
    solver_visits: int = Field(default=120, ge=1)
    """Windows of pages that one attempt may read; a corpus without lists may have to be gone through page by page."""
    solver_turns: int | None = Field(default=None, ge=1)
    """Turns that a solver's or a rival seeker's conversation may take, where a model plays; as many as the budget where
    unset."""
    solver_context_chars: int | None = Field(default=None, ge=1_000)
    """Characters of such a conversation after which the model has to conclude, for models with a short context."""
    proposer_searches: int = Field(default=60, ge=1)
    """Searches that a model may spend on one proposal."""
    proposer_visits: int = Field(default=250, ge=1)
    """Windows of pages that a model may read for one proposal."""

    @field_validator("roles", mode="before")
    @classmethod
    def _one_player_or_several(cls, roles: Any) -> Any:
        """`judge = "m1"` says the same as `judge = ["m1"]`."""
        if not isinstance(roles, Mapping):
            return roles
        return {role: (who,) if isinstance(who, str) else who for role, who in roles.items()}

    @model_validator(mode="after")
    def _names_what_exists(self) -> Self:
        for name, model in self.models.items():
            if model.endpoint not in self.endpoints:
                raise ValueError(f"models.{name} is at the endpoint {model.endpoint!r}, {_known(self.endpoints)}")
        both = sorted({*self.models} & {*self.checkpoints})
        if both:
            raise ValueError(f"{both[0]!r} is the name of a model and of a checkpoint; give one of them another name")
        for role, players in self.roles.items():
            for player in players:
                if player in self.checkpoints and role not in TRAINED_ROLES:
                    known = ", ".join(sorted(TRAINED_ROLES))
                    raise ValueError(f"roles.{role} names the checkpoint {player!r}, and checkpoints play {known}")
                if player not in (SYMBOLIC, *self.models, *self.checkpoints):
                    raise ValueError(f"roles.{role} names {player!r}, {_known({**self.models, **self.checkpoints})}")
            if not players or (role not in SEVERAL and len(players) > 1):
                raise ValueError(f"roles.{role} needs {'at least one player' if role in SEVERAL else 'one player'}")
        if self.kind == "llm" and not any(self.players(role) or self.trained(role) for role in self.roles):
            raise ValueError('kind = "llm" needs at least one role that a model plays; see data/casts/local.toml')
        for name, endpoint in self.endpoints.items():
            if endpoint.engine == "openai" and not endpoint.base_url:
                raise ValueError(f'endpoints.{name} needs a base_url, such as "http://localhost:8000/v1"')
        return self

    def players(self, role: RoleName) -> tuple[str, ...]:
        """Names of the models that play a role; empty where programs do."""
        if self.kind == SYMBOLIC:
            return ()
        return tuple(player for player in self.roles.get(role, ()) if player in self.models)

    def trained(self, role: RoleName) -> tuple[str, ...]:
        """Names of the checkpoints that play a role."""
        if self.kind == SYMBOLIC:
            return ()
        return tuple(player for player in self.roles.get(role, ()) if player in self.checkpoints)


TRAINED_ROLES = frozenset({"solver", "guesser", "policy"})
"""Roles that a checkpoint can play."""
SEVERAL = frozenset({"proposer", "solver", "guesser", "policy"})
"""Roles that more than one may play."""


def _known(named: Mapping[str, object]) -> str:
    return f"and there is only {', '.join(sorted(named))}" if named else "and none is configured"


def with_cast_file(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section with the keys of the file it names; tables are merged, and what the section says itself wins."""
    name = section.get("file")
    if not name or not isinstance(name, str):
        return dict(section)
    path = shipped_file(f"casts/{name}.toml") if name.isidentifier() and not Path(name).is_file() else Path(name)
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(
            f"cast.file {name} cannot be read ({exc.strerror}); data/casts/local.toml is an example."
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cast.file {name} is not TOML: {exc}.") from exc
    return _laid_over(told, section)


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[key] = _laid_over(inner, value) if both and isinstance(inner, Mapping) else value
    return merged
