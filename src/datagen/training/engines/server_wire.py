"""What goes over the wire to a vLLM server, and what comes back: plain data on both sides.

    request     {"model": "policy-v12", "prompt": [5, 9, 2], "max_tokens": 8, "seed": 17, "logprobs": 0,
                 "return_token_ids": true, "stop_token_ids": [2], "ignore_eos": true, ...}
    reply       {"choices": [{"token_ids": [7, 2], "logprobs": {"token_logprobs": [-0.3, -1.1]},
                              "finish_reason": "stop"}], "usage": {...}}

Every setting that changes the distribution is sent, also where it has its neutral value: what a request leaves out, vLLM
takes from the model's own `generation_config.json`, and a top_k of 20 that nobody asked for biases every ratio.

Field names are those of vLLM's `CompletionRequest`, by its sources; most are extensions of OpenAI's. What was run against
them is `practice_server`, not vLLM itself, whose wheels need a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import httpx
import orjson

from datagen.clients.connecting import fault_of_status
from datagen.errors import ConnectionLostError, CredentialsError, EngineError, InvalidRequestError, OverloadedError
from datagen.training.engines.base import Completion, Sampling

NEUTRAL: Mapping[str, Any] = {
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "n": 1,
    "stream": False,
}
"""Settings that leave the distribution of the model as it is."""
SHOWN = 300
"""Characters of a server's own words in a message."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a request has to name to be answered by the weights of `version`."""

    version: int
    model: str
    salt: str = ""
    """Kept keys and values are found again only under the same salt; empty where the name of the model tells enough."""


class MissingModelError(InvalidRequestError):
    """The server knows no model or adapter of this name: it was started again and has lost its adapters."""


def request_body(prompt: Sequence[int], sampling: Sampling, serving: Serving) -> dict[str, Any]:
    """The body of POST /v1/completions."""
    body: dict[str, Any] = {
        "model": serving.model,
        "prompt": list(map(int, prompt)),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop_token_ids": list(sampling.stop),
        "ignore_eos": True,  # `stop` alone says what ends a turn
        "logprobs": 0,
        "return_token_ids": True,
        **NEUTRAL,
    }
    if serving.salt:
        body["cache_salt"] = serving.salt
    return body


def completion_of(reply: Any, sampling: Sampling, version: int) -> Completion:
    """The tokens of a reply.

    Raises `EngineError` for a reply that lacks ids or log-probabilities, has more tokens than were asked for, or stopped
    where nobody asked it to.
    """
    try:
        choice = reply["choices"][0]
        ids, reason = choice.get("token_ids"), choice.get("finish_reason")
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs")
    except (TypeError, KeyError, IndexError, AttributeError) as exc:
        raise EngineError(f"the server's reply is no completion: {str(reply)[:SHOWN]}") from exc
    if not _integers(ids):
        raise EngineError("the server sent no token ids; it has to be a vLLM that knows return_token_ids.")
    count = len(logprobs) if isinstance(logprobs, list) else 0
    if not _numbers(logprobs) or count != len(ids):
        raise EngineError(
            f"the server sent {count} log-probabilities for {len(ids)} tokens; without them no ratio can be taken. Take a "
            "vLLM server, and do not set --max-logprobs 0."
        )
    if reason not in ("stop", "length"):
        raise EngineError(f"the server ended the request with finish_reason {reason!r} after {len(ids)} tokens.")
    if not ids or len(ids) > sampling.max_tokens:
        raise EngineError(f"the server sent {len(ids)} tokens where 1 to {sampling.max_tokens} were asked for.")
    if reason == "stop" and ids[-1] not in sampling.stop:
        raise EngineError(
            f"the server stopped at token {ids[-1]}, which is none of {list(sampling.stop)}; start it with "
            "--generation-config vllm, so that it takes no stop tokens from the model's own settings."
        )
    return Completion(tuple(ids), tuple(map(float, logprobs)), reason, version, _cached_tokens(reply))


def _integers(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int for value in values)


def _numbers(values: Any) -> TypeGuard[list[float]]:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )


def _cached_tokens(reply: Any) -> int:
    """Only told by servers that run with --enable-prompt-tokens-details."""
    details = (reply.get("usage") or {}).get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0)


def raise_for(answer: httpx.Response, who: str) -> None:
    """Raises the `EndpointError` of a status that is no success; `retryable` says whether another try may mend it."""
    if answer.is_success:
        return
    fault = fault_of_status(answer.status_code, answer.headers, who)
    if isinstance(fault, OverloadedError):
        raise OverloadedError(f"{fault}: {answer.text[:SHOWN]}")
    if fault is not None:
        raise fault
    told = f"{who} answered with status {answer.status_code}: {answer.text[:SHOWN]}"
    if answer.status_code in (401, 403):
        raise CredentialsError(told)
    if answer.status_code == 404 and ("model" in answer.text or "adapter" in answer.text):
        raise MissingModelError(told)
    raise InvalidRequestError(told)


def read_json(answer: httpx.Response, who: str) -> Any:
    """The body; a reply that is no JSON was cut off on the way."""
    raise_for(answer, who)
    try:
        return orjson.loads(answer.content)
    except ValueError as exc:
        raise ConnectionLostError(f"{who} sent what is no JSON: {answer.text[:SHOWN]}") from exc
