"""The section on who plays the roles, and where the models are served."""

from __future__ import annotations

from typing import Any
from typing import Literal as OneOf

from pydantic import Field

from datagen.config.section import Section, Share

RoleName = OneOf["planner", "browser", "proposer", "obfuscator", "writer", "solver", "guesser", "judge"]
SYMBOLIC = "symbolic"


class EndpointConfig(Section):
    """A server of models. Keys never stand here: `api_key_env` names the variable that holds one."""

    engine: OneOf["openai", "vllm"] = "openai"
    """openai: any chat-completions server (vLLM, SGLang, llama.cpp, hosted); vllm: a model loaded in this process."""
    base_url: str | tuple[str, ...] = ""
    """Such as "http://localhost:8000/v1"; several are replicas of one server."""
    identity: str = ""
    """Names the server in the cache, so that replies outlive a move to another address; the base URL where empty."""
    api_key_env: str = ""
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
    """Read replies as they are written; shows a stalled server sooner, costs a little processor time."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """A fixed rate, for services that sell one."""
    engine_options: dict[str, Any] = {}
    """vllm: arguments of the engine, such as tensor_parallel_size."""


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


class CastConfig(Section):
    """Who plays the roles."""

    kind: OneOf["symbolic", "llm"] = "symbolic"
    """symbolic: programs that see the two tools and the text of pages, no model, no key; llm: models where `roles` names
    them, programs elsewhere."""
    file: str = ""
    """A TOML file with this section's keys, such as cast.toml; what stands here goes before what stands there."""
    endpoints: dict[str, EndpointConfig] = {}
    """Servers by name."""
    models: dict[str, ModelConfig] = {}
    """Models by name."""
    roles: dict[RoleName, tuple[str, ...]] = {}
    """Who plays what: names of models, or "symbolic". Solvers all have to agree; guessers all have to fail."""
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
    concurrency: int = Field(default=64, ge=1)
    """Candidates in the making at once in one process."""
    rewriter_share: Share = 1.0
    """Share of certified questions that the writer says in its own words."""
    solver_searches: int = Field(default=40, ge=1)
    """Searches that one attempt of a solver may spend."""
    solver_visits: int = Field(default=120, ge=1)
    """Windows of pages that one attempt may read; a corpus without lists may have to be gone through page by page."""
