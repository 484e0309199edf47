"""A small causal model as a server would run it: adapters by name, keys and values kept by prefix, pauses between tokens.

It does what vLLM does where training could trip over it, one request at a time:

- an adapter is W + B A · scale on the weights it names (Hu et al. 2021, arXiv 2106.09685, §4.1), read from peft's files;
- keys and values of earlier requests are found again under (name of the model, salt), whatever the weights are by now:
  weights that are swapped under one name meet keys and values of the old ones, here as there;
- paused, a request stands still between two tokens and goes on with the weights of later;
- log-probabilities are processed ones (temperature and top_p applied), or the raw model's, which is vLLM's default.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from typing import Literal as OneOf

import torch
from torch import Tensor

from datagen.errors import ConfigError
from datagen.training.engines.adapters import CONFIG, WEIGHTS

LogprobsMode = OneOf["processed_logprobs", "raw_logprobs"]
KEPT_PREFIXES = 32
PEFT_PREFIX = "base_model.model."
_WAIT_SECONDS = 0.02


class BadRequest(ValueError):
    """What a server answers with status 400."""


class NoSuchModel(BadRequest):
    """What a server answers with status 404."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, defaults filled in."""

    model: str
    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop: frozenset[int]
    seed: int
    salt: str = ""


@dataclass(slots=True)
class Drawn:
    """A reply as it grows."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = "length"
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class _Kept:
    key: tuple[str, str]
    tokens: tuple[int, ...]
    cache: Any


class PracticeModel:
    """The model and what is loaded into it. `generate` runs in one thread; everything else may come from another."""

    def __init__(
        self, model: Any, *, name: str = "practice", logprobs_mode: LogprobsMode = "processed_logprobs"
    ) -> None:
        """`model`: a causal model of transformers, on the processor. It is copied: two threads cannot share a module whose
        weights are exchanged for every pass.
        """
        self.name = name
        self.adapters: dict[str, Path] = {}
        self.weight_version = "default"
        self._logprobs_mode = logprobs_mode
        self._model = copy.deepcopy(model).eval()
        self._weights: dict[str, Tensor] = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        self._start = {key: tensor.clone() for key, tensor in self._weights.items()}
        self._deltas: dict[str, dict[str, Tensor]] = {}
        self._kept: list[_Kept] = []
        self._recomputed = 0
        """How often running requests had to forget their keys and values."""
        self._lock = threading.Lock()
        self._running = threading.Event()
        self._running.set()

    # Weights

    def forget(self) -> None:
        """As after a new start: the first weights, no adapters, nothing kept."""
        with self._lock:
            self._weights = {key: tensor.clone() for key, tensor in self._start.items()}
            self.adapters, self._deltas, self._kept = {}, {}, []
            self.weight_version = "default"
            self._running.set()

    def load_adapter(self, name: str, folder: Path) -> None:
        deltas = _deltas(folder, self._weights)
        with self._lock:
            self.adapters[name], self._deltas[name] = folder, deltas

    def unload_adapter(self, name: str) -> None:
        with self._lock:
            if self.adapters.pop(name, None) is None:
                raise NoSuchModel(f"The lora adapter '{name}' cannot be found: no such model.")
            del self._deltas[name]

    def write(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights in place, under the names of the checkpoint."""
        with self._lock:
            for name, tensor in weights.items():
                if name not in self._weights or self._weights[name].shape != tensor.shape:
                    raise BadRequest(f"the model has no weight {name} of shape {tuple(tensor.shape)}")
                for alias in self._aliases(name):
                    self._weights[alias] = tensor.to(self._weights[name].dtype)

    def _aliases(self, name: str) -> list[str]:
        """A tied head is the embedding under another name."""
        names: tuple[str, ...] = ("lm_head.weight", "model.embed_tokens.weight")
        tied = [key for key in names if key in self._weights]
        return tied if name in tied and getattr(self._model.config, "tie_word_embeddings", False) else [name]

    # Standing still

    @property
    def paused(self) -> bool:
        return not self._running.is_set()

    def pause(self) -> None:
        """Returns when no forward pass is under way."""
        self._running.clear()
        with self._lock:
            pass

    def resume(self) -> None:
        self._running.set()

    def reset_prefix_cache(self, *, running: bool) -> None:
        with self._lock:
            self._kept = []
            self._recomputed += running

    # Sampling

    def knows(self, name: str) -> bool:
        return name == self.name or name in self.adapters

    def generate(self, asked: Asked, cancelled: threading.Event) -> Drawn:
        """Draw a reply token by token; `cancelled` ends it with the reason "abort"."""
        if not self.knows(asked.model):
            raise NoSuchModel(f"The model `{asked.model}` does not exist.")
        generator = torch.Generator().manual_seed(asked.seed % 2**63)
        drawn, tokens = Drawn(), list(asked.prompt)
        cache, computed = self._found(asked, drawn)
        deltas = self._deltas.get(asked.model, {})  # a request ends with the adapter it began with
        while len(drawn.token_ids) < asked.max_tokens:
            if not self._may_go_on(cancelled):
                drawn.finish_reason = "abort"
                return drawn
            with self._lock:
                if computed != self._recomputed:
                    cache, computed = None, self._recomputed
                logits, cache = self._forward(tokens, cache, deltas)
            token, logprob = self._draw(logits, asked, generator)
            drawn.token_ids.append(token)
            drawn.logprobs.append(logprob)
            tokens.append(token)
            if token in asked.stop:
                drawn.finish_reason = "stop"
                break
        self._keep(asked, tuple(tokens[:-1]), cache)
        return drawn

    def _may_go_on(self, cancelled: threading.Event) -> bool:
        while not self._running.wait(_WAIT_SECONDS):
            if cancelled.is_set():
                return False
        return not cancelled.is_set()

    def _forward(self, tokens: Sequence[int], cache: Any, deltas: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Logits of the next token, of shape (vocabulary,), and the keys and values of all tokens so far."""
        weights = self._weights | {name: self._weights[name] + delta for name, delta in deltas.items()}
        done = 0 if cache is None else cache.get_seq_length()
        ids = torch.tensor([list(tokens[done:])])
        with torch.no_grad():
            out = torch.func.functional_call(
                self._model,
                weights,
                args=(),
                kwargs={"input_ids": ids, "past_key_values": cache, "use_cache": True},
                tie_weights=False,
            )
        return out.logits[0, -1].float(), out.past_key_values

    def _draw(self, logits: Tensor, asked: Asked, generator: torch.Generator) -> tuple[int, float]:
        raw = torch.log_softmax(logits, -1)
        if asked.temperature == 0:
            token = int(raw.argmax())
            return token, float(raw[token])
        processed = torch.log_softmax(_cut(logits / asked.temperature, asked.top_k, asked.top_p), -1)
        token = int(torch.multinomial(processed.exp(), 1, generator=generator))
        told = processed if self._logprobs_mode == "processed_logprobs" else raw
        return token, float(told[token])

    def _found(self, asked: Asked, drawn: Drawn) -> tuple[Any, int]:
        """Keys and values of the longest kept prefix; the last token of a prompt is always computed."""
        with self._lock:
            best, length = None, 0
            for kept in self._kept:
                same = _common(kept.tokens, asked.prompt[:-1]) if kept.key == (asked.model, asked.salt) else 0
                if same > length:
                    best, length = kept, same
            drawn.cached_tokens = length
            if best is None:
                return None, self._recomputed
            cache = copy.deepcopy(best.cache)
            if (extra := cache.get_seq_length() - length) > 0:
                cache.crop(-extra)
            return cache, self._recomputed

    def _keep(self, asked: Asked, tokens: tuple[int, ...], cache: Any) -> None:
        with self._lock:
            self._kept = [*self._kept[1 - KEPT_PREFIXES :], _Kept((asked.model, asked.salt), tokens, cache)]


def load_model(folder: Path, **more: Any) -> PracticeModel:
    """A model from a folder of transformers."""
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{folder} holds no model that can be served: {exc}") from exc
    return PracticeModel(model, name=str(folder), **more)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of all in a folder."""
    from safetensors.torch import load_file

    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise BadRequest(f"there are no weights at {path}")
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= load_file(file)
    return tensors


def _deltas(folder: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an adapter adds to which weights."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise NoSuchModel(f"No adapter found for {folder}: {exc}") from exc
    parts = read_weights(folder / WEIGHTS)
    if config.get("use_dora") or config.get("modules_to_save") or config.get("fan_in_fan_out"):
        raise BadRequest("only plain LoRA adapters are served")
    rank = config["r"]
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    deltas = {}
    for key, down in parts.items():
        if not key.endswith(".lora_A.weight"):
            continue
        module = key.removeprefix(PEFT_PREFIX).removesuffix(".lora_A.weight")
        if f"{module}.weight" not in weights:
            raise BadRequest(f"the adapter changes {module}, which the model does not have")
        up = parts[key.replace(".lora_A.", ".lora_B.")]
        deltas[f"{module}.weight"] = (up.float() @ down.float()) * scale
    if 2 * len(deltas) != len(parts):
        raise BadRequest("only plain LoRA adapters are served")
    return deltas


def _cut(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Without the tokens that top_k and top_p leave out."""
    if 0 < top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    if top_p < 1:
        ordered, places = logits.softmax(-1).sort(descending=True)
        out = ordered.cumsum(-1) - ordered >= top_p
        logits = logits.masked_fill(torch.zeros_like(out).scatter(0, places, out), -torch.inf)
    return logits


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
