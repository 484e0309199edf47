"""What models cost, by a dated file: USD per million tokens, with the page each price was read on.

A model that the file lacks has no price, and a reply without token counts has no cost: both are None, never zero and
never an estimate. A model on one's own machine is free only if the file says so.

    [models."org/name"]
    input = 0.15
    cached_input = 0.075    # of input tokens that the server had cached; the price of input where it is left out
    output = 0.60
    source = "https://..."
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from datagen.clients.chat import ChatRequest, Usage
from datagen.errors import ConfigError

TOKENS_PER_PRICE = 1_000_000
TEMPLATE_TOKENS = 16
"""Tokens that a chat template may put around one turn, one tool or the schema, at most."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float
    cached_input: float
    source: str


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices as of a day."""

    as_of: str
    source: str
    """The file they come from."""
    prices: Mapping[str, Price]

    @classmethod
    def load(cls, path: Path) -> PriceBook:
        try:
            told = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as exc:
            raise ConfigError(f"the price file {path} cannot be read ({exc.strerror}); check cast.prices.") from exc
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"the price file {path} is not TOML: {exc}.") from exc
        as_of, models = told.get("as_of"), told.get("models", {})
        if not isinstance(as_of, date):
            raise ConfigError(f"the price file {path} needs the day it was written, such as: as_of = 2026-01-31")
        if not isinstance(models, dict):
            raise ConfigError(f'the price file {path} needs tables [models."NAME"].')
        return cls(as_of.isoformat(), str(path), {name: _price(path, name, raw) for name, raw in models.items()})

    def cost(self, model: str, usage: Usage) -> float | None:
        """USD of one reply; None where the model has no price or the server did not count."""
        price = self.prices.get(model)
        if price is None:
            return None
        if price.input == price.output == price.cached_input == 0:
            return 0.0
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
        paid = (usage.input_tokens - cached) * price.input + cached * price.cached_input
        return (paid + usage.output_tokens * price.output) / TOKENS_PER_PRICE

    def upper_bound(self, request: ChatRequest) -> float | None:
        """USD that a reply cannot exceed; None where the model has no price or the reply no limit.

        A token is at least one byte of the prompt, so bytes bound the tokens of every tokenizer.
        """
        price = self.prices.get(request.model)
        if price is None:
            return None
        if price.input == price.output == price.cached_input == 0:
            return 0.0
        most = request.sampling.extra.get("max_completion_tokens", request.sampling.max_tokens)
        if not isinstance(most, int):
            return None
        dearest = max(price.input, price.cached_input)
        return (_prompt_bytes(request) * dearest + most * price.output) / TOKENS_PER_PRICE


def require_prices(prices: PriceBook, models: Sequence[str]) -> None:
    """A budget can only be held where every call has a price; called before a run with a budget starts."""
    missing = sorted(set(models) - set(prices.prices))
    if missing:
        raise ConfigError(
            f"cast.budget_usd is set, and {prices.source} has no price for {', '.join(missing)}. Copy the file, add "
            f'[models."{missing[0]}"] with input and output in USD per million tokens, and pass it as cast.prices.'
        )


def _prompt_bytes(request: ChatRequest) -> int:
    size = TEMPLATE_TOKENS * (1 + len(request.messages) + len(request.tools))
    for message in request.messages:
        size += len(message.content.encode("utf-8", "surrogatepass"))
        size += sum(len(c.name) + len(c.id) + 4 * len(c.arguments) + TEMPLATE_TOKENS for c in message.tool_calls)
    for tool in request.tools:
        size += len(json.dumps([tool.name, tool.description, dict(tool.parameters)]))
    if request.schema is not None:
        size += len(json.dumps([request.schema.name, dict(request.schema.schema)]))
    return size


def _price(path: Path, model: str, raw: Any) -> Price:
    """One table of the file."""
    known = {"input", "cached_input", "output", "source"}
    if not isinstance(raw, dict) or not {"input", "output", "source"} <= set(raw) or set(raw) - known:
        raise ConfigError(f'{path}: [models."{model}"] needs input, output and source, and may have cached_input.')
    numbers = {name: raw[name] for name in ("input", "output", "cached_input") if name in raw}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < TOKENS_PER_PRICE:
            raise ConfigError(f'{path}: models."{model}".{name} is {value!r}, not USD per million tokens.')
    cached = numbers.get("cached_input", numbers["input"])
    return Price(float(numbers["input"]), float(numbers["output"]), float(cached), str(raw["source"]))
