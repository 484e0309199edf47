"""What the practice server answers, route by route, in the words of vLLM's own API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from typing import Literal as OneOf
from urllib.parse import parse_qs

from datagen.training.engines.practice_model import Asked, BadRequest, Drawn, read_weights

if TYPE_CHECKING:
    from datagen.training.engines.practice_server import TrainingPracticeServer

NEUTRAL_ONLY: Mapping[str, tuple[Any, ...]] = {
    "min_p": (None, 0, 0.0),
    "repetition_penalty": (None, 1, 1.0),
    "presence_penalty": (None, 0, 0.0),
    "frequency_penalty": (None, 0, 0.0),
    "n": (None, 1),
    "stream": (None, False),
    "echo": (None, False),
}
"""Settings that this server cannot change, and will not ignore."""
Phases = OneOf["four_phase", "two_phase"]
FOUR_PHASE_ONLY = ("/start_weight_update", "/finish_weight_update", "/weight_info", "/update_weight_version")
LARGEST_SEED = 2**63 - 1
_IDLE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply."""

    status: int
    body: dict[str, Any]


def understand(body: Mapping[str, Any], defaults: Mapping[str, Any], base_model: str) -> Asked:
    """A request for a completion. What it leaves out comes from `defaults`, as from a model's generation config."""
    prompt = body.get("prompt")
    if not isinstance(prompt, list) or not prompt or not all(type(token) is int and token >= 0 for token in prompt):
        raise BadRequest("prompt has to be a list of token ids")
    for name, allowed in NEUTRAL_ONLY.items():
        if body.get(name) not in allowed:
            raise BadRequest(f"{name} cannot be {body[name]!r} here")
    seed = body.get("seed") or 0
    if not -LARGEST_SEED <= seed <= LARGEST_SEED:
        raise BadRequest(f"seed {seed} does not fit 64 bits")

    def told(name: str, otherwise: Any) -> Any:
        return body[name] if body.get(name) is not None else defaults.get(name, otherwise)

    return Asked(
        model=body.get("model") or base_model,
        prompt=tuple(prompt),
        max_tokens=int(told("max_tokens", 16)),
        temperature=float(told("temperature", 1.0)),
        top_p=float(told("top_p", 1.0)),
        top_k=int(told("top_k", 0)),
        stop=frozenset(body.get("stop_token_ids") or ()) | frozenset(defaults.get("stop_token_ids", ())),
        seed=seed,
        salt=body.get("cache_salt") or "",
    )


def completion_body(asked: Asked, drawn: Drawn, fault: str | None) -> dict[str, Any]:
    """The reply to a request for a completion; `fault` may leave something out."""
    choice: dict[str, Any] = {
        "index": 0,
        "text": "",
        "finish_reason": drawn.finish_reason,
        "prompt_token_ids": list(asked.prompt),
        "token_ids": drawn.token_ids,
        "logprobs": {"token_logprobs": drawn.logprobs, "tokens": [f"token_id:{token}" for token in drawn.token_ids]},
    }
    if fault == "no_ids":
        choice["token_ids"] = None
    if fault == "no_logprobs":
        choice["logprobs"] = None
    used = {
        "prompt_tokens": len(asked.prompt),
        "completion_tokens": len(drawn.token_ids),
        "total_tokens": len(asked.prompt) + len(drawn.token_ids),
        "prompt_tokens_details": {"cached_tokens": drawn.cached_tokens},
    }
    return {
        "id": "cmpl-practice",
        "object": "text_completion",
        "model": asked.model,
        "choices": [choice],
        "usage": used,
    }


def routes_of(phases: Phases) -> set[tuple[str, str]]:
    """The routes of a server that takes weights in these phases."""
    return {route for route in ROUTES if phases == "four_phase" or route[1] not in FOUR_PHASE_ONLY}


def answer_to(server: TrainingPracticeServer, method: str, path: str, query: str, body: dict[str, Any]) -> Answer:
    """Any route but that of completions."""
    options = {name: values[-1] for name, values in parse_qs(query).items()}
    return Answer(200, ROUTES[method, path](server, options, body))


def _health(_: TrainingPracticeServer, __: dict[str, str], ___: dict[str, Any]) -> dict[str, Any]:
    return {}


def _models(server: TrainingPracticeServer, _: dict[str, str], __: dict[str, Any]) -> dict[str, Any]:
    base = {
        "id": server.model.name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "datagen",
        "parent": None,
    }
    adapters = [base | {"id": name, "parent": server.model.name} for name in server.model.adapters]
    return {"object": "list", "data": [base, *adapters]}


def _openapi(server: TrainingPracticeServer, _: dict[str, str], __: dict[str, Any]) -> dict[str, Any]:
    return {"paths": {path: {} for _, path in routes_of(server.phases)}}


def _load_adapter(server: TrainingPracticeServer, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    name = body.get("lora_name")
    if not name or not body.get("lora_path"):
        raise BadRequest("Both 'lora_name' and 'lora_path' must be provided.")
    if name in server.model.adapters and not body.get("load_inplace"):
        raise BadRequest(f"The lora adapter '{name}' has already been loaded.")
    server.model.load_adapter(name, Path(body["lora_path"]))
    return {"message": f"Success: LoRA adapter '{name}' added successfully."}


def _unload_adapter(server: TrainingPracticeServer, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    server.model.unload_adapter(str(body.get("lora_name")))
    return {"message": "Success"}


def _pause(server: TrainingPracticeServer, options: dict[str, str], _: dict[str, Any]) -> dict[str, Any]:
    mode = options.get("mode", "abort")
    if mode == "abort":
        server.abort_all()
    elif mode == "wait":
        while server.seen.at_once:
            time.sleep(_IDLE_SECONDS)
    elif mode != "keep":
        raise BadRequest(f"mode {mode!r} is none of abort, wait, keep")
    server.model.pause()
    return {"status": "paused"}


def _resume(server: TrainingPracticeServer, _: dict[str, str], __: dict[str, Any]) -> dict[str, Any]:
    server.model.resume()
    return {"status": "resumed"}


def _is_paused(server: TrainingPracticeServer, _: dict[str, str], __: dict[str, Any]) -> dict[str, Any]:
    return {"is_paused": server.model.paused}


def _reset_cache(server: TrainingPracticeServer, options: dict[str, str], _: dict[str, Any]) -> dict[str, Any]:
    server.model.reset_prefix_cache(running=options.get("reset_running_requests") == "true")
    return {}


def _world_size(_: TrainingPracticeServer, __: dict[str, str], ___: dict[str, Any]) -> dict[str, Any]:
    return {"world_size": 1}


def _init_transfer(server: TrainingPracticeServer, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    if "folder" not in (body.get("init_info") or {}):
        raise BadRequest("this server's backend is file: init_info needs a folder")
    server.introduced = True
    return {"message": "Weight transfer initialized"}


def _start_update(server: TrainingPracticeServer, _: dict[str, str], __: dict[str, Any]) -> dict[str, Any]:
    if not server.introduced:
        raise BadRequest("weight transfer was not initialized")
    server.updating = True
    return {"message": "Weight update started"}


def _update(server: TrainingPracticeServer, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    info = body.get("update_info") or {}
    if not server.introduced or (server.phases == "four_phase" and not server.updating):
        raise BadRequest("no weight update was started")
    weights = read_weights(Path(info["path"]))
    told = dict(zip(info["names"], map(tuple, info["shapes"]), strict=True))
    if {name: tuple(tensor.shape) for name, tensor in weights.items()} != told:
        raise BadRequest("the file holds other weights than were announced")
    server.model.write(weights)
    return {"message": "Weights updated"}


def _finish_update(server: TrainingPracticeServer, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    if not server.updating:
        raise BadRequest("no weight update was started")
    server.updating = False
    server.model.weight_version = str(body.get("weight_version") or server.model.weight_version)
    return {"message": "Weight update finished"}


def _weight_info(server: TrainingPracticeServer, _: dict[str, str], __: dict[str, Any]) -> dict[str, Any]:
    return {"weight_version": server.model.weight_version}


def _update_version(server: TrainingPracticeServer, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    server.model.weight_version = str(body["new_version"])
    return {"success": True, "new_version": server.model.weight_version}


def _collective_rpc(server: TrainingPracticeServer, _: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    if body.get("method") != "reload_weights":
        raise BadRequest(f"no method {body.get('method')!r}")
    server.model.write(read_weights(Path(body["kwargs"]["weights_path"])))
    return {"results": [None]}


ROUTES: Mapping[tuple[str, str], Callable[[TrainingPracticeServer, dict[str, str], dict[str, Any]], dict[str, Any]]] = {
    ("GET", "/health"): _health,
    ("GET", "/v1/models"): _models,
    ("GET", "/openapi.json"): _openapi,
    ("POST", "/v1/load_lora_adapter"): _load_adapter,
    ("POST", "/v1/unload_lora_adapter"): _unload_adapter,
    ("POST", "/pause"): _pause,
    ("POST", "/resume"): _resume,
    ("GET", "/is_paused"): _is_paused,
    ("POST", "/reset_prefix_cache"): _reset_cache,
    ("GET", "/get_world_size"): _world_size,
    ("POST", "/init_weight_transfer_engine"): _init_transfer,
    ("POST", "/start_weight_update"): _start_update,
    ("POST", "/update_weights"): _update,
    ("POST", "/finish_weight_update"): _finish_update,
    ("GET", "/weight_info"): _weight_info,
    ("POST", "/update_weight_version"): _update_version,
    ("POST", "/collective_rpc"): _collective_rpc,
}
