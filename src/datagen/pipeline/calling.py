"""From the config's endpoints to clients: who is called, with which key, how many at once, and who keeps the accounts.

Keys are read from the environment here and handed to the engines; they stand in no config, row, cache or log.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from datagen import storage
from datagen.clients.cache import ReplyCache
from datagen.clients.chat import ChatEngine, ModelSpec, Sampling
from datagen.clients.ledger import Ledger, LedgerTotals
from datagen.clients.openai_chat import OpenAIEngine
from datagen.clients.prices import PriceBook, require_prices
from datagen.clients.retrying import Patience
from datagen.clients.service import ChatService, Endpoint
from datagen.config import CastConfig, DatagenConfig, EndpointConfig, ModelConfig
from datagen.errors import ConfigError
from datagen.records.shipped import shipped_file
from datagen.runs.directory import Run

LEDGER_NAME = "ledger.sqlite"
SWITCH_INTERVAL = 0.0005
PROCESSES = frozenset({"process", "ray", "dask"})
"""Runners under which every worker is a process with clients of its own."""


def plays_models(cast: CastConfig) -> bool:
    """Whether any role is played by a model."""
    return any(cast.players(role) for role in cast.roles)


def models_of(cast: CastConfig) -> list[str]:
    """Names of the models that play a role, in a fixed order."""
    return sorted({name for role in cast.roles for name in cast.players(role)})


def open_service(config: DatagenConfig, directory: str, *, offline: bool = False) -> ChatService:
    """The clients of one process of a run. `offline` answers from the cache alone."""
    # Records wait for sockets and now and then compute. With Python's 5 ms, every reply would wait so long for whoever
    # computes; measured with four busy threads, calls took five times as long.
    sys.setswitchinterval(SWITCH_INTERVAL)
    cast = config.cast
    used = {cast.models[name].endpoint for name in models_of(cast)}
    prices = PriceBook.load(Path(cast.prices) if cast.prices else shipped_file("prices.toml"))
    if cast.budget_usd is not None:
        require_prices(prices, sorted({cast.models[name].model for name in models_of(cast)}))
    share = processes_of(config)
    return ChatService(
        {name: _endpoint(name, cast, share, offline=offline) for name in sorted(used)},
        cache=ReplyCache(Path(cast.cache), "chat"),
        ledger=open_ledger(directory),
        prices=prices,
        budget_usd=cast.budget_usd,
        offline=offline,
        patience=Patience(first=cast.retry_seconds, jitter=cast.retry_seconds),
    )


def processes_of(config: DatagenConfig) -> int:
    """How many processes call the services of a run at once; each gets its share of slots and rates."""
    return config.run.workers if config.run.runner in PROCESSES else 1


def open_ledger(directory: str) -> Ledger:
    """The accounts of a run; they outlive every process of it."""
    if not storage.is_local(directory):
        raise ConfigError(
            f"{directory} is not on this machine, and the ledger of a run with models has to be; "
            "choose a local run.directory and copy the release afterwards."
        )
    folder = storage.local_path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    return Ledger(folder / LEDGER_NAME)


def paid_in(directory: str) -> LedgerTotals | None:
    """What a run has really paid, each call once; None where no model was called."""
    if not storage.is_local(directory) or not (storage.local_path(directory) / LEDGER_NAME).exists():
        return None
    totals = open_ledger(directory).totals()
    return totals if totals.calls + totals.judge_calls else None


def spent_so_far(run: Run) -> float | None:
    """Dollars that a run has paid, over all its attempts; None without models, or where a price is not known."""
    if not plays_models(run.config.cast):
        return None
    totals = paid_in(run.directory)
    return None if totals is None or totals.unpriced_calls else totals.known_cost_usd


def _endpoint(name: str, cast: CastConfig, share: int, *, offline: bool) -> Endpoint:
    """`share` processes call the endpoint, each with its part of the slots. Offline, no key is needed."""
    section = cast.endpoints[name]
    slots = max(1, section.max_in_flight // share)
    return Endpoint(
        name,
        open_engine(name, section, cast, offline=offline),
        max_in_flight=slots,
        start_in_flight=min(slots, section.start_in_flight),
        attempts=section.attempts,
        requests_per_minute=section.requests_per_minute and section.requests_per_minute / share,
        replicas=1 if isinstance(section.base_url, str) else len(section.base_url),
    )


def open_engine(name: str, section: EndpointConfig, cast: CastConfig, *, offline: bool = False) -> ChatEngine:
    """What makes the calls of one endpoint."""
    if section.engine != "openai":
        served = sorted({model.model for model in cast.models.values() if model.endpoint == name})
        if len(served) != 1:
            raise ConfigError(f"cast.endpoints.{name} loads one model in this process, and cast.models names {served}.")
        from datagen.clients.vllm_chat import AsyncVllmEngine, VllmEngine

        kind = VllmEngine if section.engine == "vllm" else AsyncVllmEngine
        return kind(served[0], section.engine_options)
    urls = (section.base_url,) if isinstance(section.base_url, str) else section.base_url
    return OpenAIEngine(
        urls,
        identity=section.identity,
        api_key=None if offline else _key(name, section.api_key_env),
        timeout_seconds=section.timeout_seconds,
        stream=section.stream,
    )


def _key(name: str, variable: str) -> str | None:
    if not variable:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(
            f"cast.endpoints.{name} takes its key from ${variable}, which is not set: export {variable}=..."
        )
    return key


def model_spec(name: str, section: ModelConfig) -> ModelSpec:
    """A model of the config as the roles need it."""
    sampling = Sampling(section.temperature, section.top_p, section.max_tokens, extra=section.extra)
    return ModelSpec(name, section.endpoint, section.model, sampling, section.structured)
