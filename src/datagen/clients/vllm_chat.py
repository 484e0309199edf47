"""A model loaded in this process with vLLM, for jobs that own the GPU: no server, no HTTP, no key.

    VllmEngine         offline batches: calls that wait together go into `LLM.chat` together, and the next batch gathers
                       while this one runs. Good where many calls are alike, such as guesses and rewordings.
    AsyncVllmEngine    `AsyncLLM`: every call joins the running batch at once and leaves it when it is done. Good for tool
                       loops, whose turns are short and whose threads would wait for the longest reply of a batch.

Both draw like `vllm serve` does: the model's generation config, and over it what the request says. A schema is enforced by
`StructuredOutputsParams`; tool calls are read as `vllm_wire` tells.

Written against vLLM 0.33 (`LLM.chat`, `SamplingParams`, `AsyncLLM.generate`, the renderer's `render_chat_async`) by its
sources. What was run: the gathering, the translation both ways and the faults, against a stand-in of that surface. What
was not: vLLM itself, whose wheels need a GPU; tests/slow/test_vllm_engine.py does that where there is one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import queue
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from datagen.clients import vllm_wire as wire
from datagen.clients.chat import ChatReply, ChatRequest
from datagen.errors import ConfigError, DatagenError, InvalidRequestError, OverloadedError
from datagen.records.ids import canonical_json, sha256_hex

BATCH = 256
"""Calls in one batch at most."""
LINGER_SECONDS = 0.02
"""How long a batch waits for one more call."""
RENDERED = {"add_generation_prompt": True, "continue_final_message": False, "tokenize": False}
"""How `LLM.chat` has a conversation rendered; `AsyncLLM` is told."""
CLIENT_FAULTS = frozenset({"VLLMClientError", "VLLMValidationError", "ValueError", "TypeError"})
"""Types, by name, of what vLLM raises for a request that it will never answer."""


class Surface(Protocol):
    """What is taken from vLLM, in one place, so that a test can put something else there."""

    def load(self, model: str, options: Mapping[str, Any]) -> Any:
        """A `vllm.LLM`."""
        ...

    def load_async(self, model: str, options: Mapping[str, Any]) -> Any:
        """A `vllm.v1.engine.async_llm.AsyncLLM`; called on the loop that it will live on."""
        ...

    def sampling(self, arguments: Mapping[str, Any], schema: Mapping[str, Any] | None, *, final_only: bool) -> Any:
        """A `vllm.SamplingParams`."""
        ...

    def chat_params(self, options: Mapping[str, Any]) -> Any:
        """A `vllm.renderers.params.ChatParams`."""
        ...


class Vllm:
    """The real thing, imported when it is first needed."""

    def __init__(self) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError(
                'engine = "vllm" loads a model in this process and needs vLLM and a GPU: '
                'pip install "datagen[vllm]", or serve the model elsewhere and give its base_url.'
            )

    def load(self, model: str, options: Mapping[str, Any]) -> Any:
        from vllm import LLM  # type: ignore[import-not-found,unused-ignore]

        return LLM(model=model, **options)

    def load_async(self, model: str, options: Mapping[str, Any]) -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs  # type: ignore[import-not-found,unused-ignore]
        from vllm.v1.engine.async_llm import AsyncLLM  # type: ignore[import-not-found,unused-ignore]

        return AsyncLLM.from_engine_args(AsyncEngineArgs(model=model, **options))

    def sampling(self, arguments: Mapping[str, Any], schema: Mapping[str, Any] | None, *, final_only: bool) -> Any:
        from vllm.sampling_params import (  # type: ignore[import-not-found,unused-ignore]
            RequestOutputKind,
            SamplingParams,
            StructuredOutputsParams,
        )

        told = dict(arguments)
        if schema is not None:
            told["structured_outputs"] = StructuredOutputsParams(json=dict(schema))
        if final_only:
            told["output_kind"] = RequestOutputKind.FINAL_ONLY
        return SamplingParams(**told)

    def chat_params(self, options: Mapping[str, Any]) -> Any:
        from vllm.renderers.params import ChatParams  # type: ignore[import-not-found,unused-ignore]

        return ChatParams(chat_template_kwargs=dict(options))


def identity_of(model: str, options: Mapping[str, Any]) -> str:
    """Names the engine in cache keys: options such as quantisation change what a model says."""
    return f"vllm:{model}" + (f"#{sha256_hex(canonical_json(dict(options)))[:8]}" if options else "")


@dataclass(slots=True)
class _Waiting:
    """A call and who waits for it."""

    request: ChatRequest
    done: Future[ChatReply] = field(default_factory=Future)

    def settle(self, fault: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(fault)


class VllmEngine:
    """Batches of calls from many threads; implements `clients.chat.ChatEngine`. The model is loaded at the first call."""

    def __init__(self, model: str, options: Mapping[str, Any], *, surface: Surface | None = None) -> None:
        """`surface` is for tests."""
        self.identity = identity_of(model, options)
        self._model = model
        self._options = dict(options)
        self._surface = surface or Vllm()
        self._calls: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._dispatcher: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"VllmEngine({self._model})"

    def attempt(self, request: ChatRequest, key: str, *, prefer: int = 0) -> ChatReply:  # noqa: ARG002  one replica
        """One try, in whichever batch goes next. Raises `EndpointError`s."""
        with self._starting:
            if self._dispatcher is None:
                self._dispatcher = threading.Thread(target=self._dispatch, name="vllm-batches", daemon=True)
                self._dispatcher.start()
        call = _Waiting(request)
        self._calls.put(call)
        return call.done.result()

    def _dispatch(self) -> None:
        """The one thread that touches the model."""
        llm, broken = None, None
        try:
            llm = self._surface.load(self._model, self._options)
        except Exception as exc:  # noqa: BLE001  whatever it is, every call hears of it
            broken = _not_loaded(self._model, exc)
        while True:
            batch = self._gather()
            if broken is not None:
                for call in batch:
                    call.settle(broken)
                continue
            try:
                for together in _alike(batch):
                    self._run(llm, together)
            except Exception as exc:  # noqa: BLE001  without this thread every later call would wait for ever
                for call in batch:
                    call.settle(_as_fault(exc))

    def _gather(self) -> list[_Waiting]:
        """The next batch: everything that waits, and what comes while it still comes."""
        batch = [self._calls.get()]
        while len(batch) < BATCH:
            try:
                batch.append(self._calls.get(timeout=LINGER_SECONDS))
            except queue.Empty:
                break
        return batch

    def _run(self, llm: Any, batch: list[_Waiting]) -> None:
        """One call of `LLM.chat`. A request that cannot be rendered fails all of them, so they are then tried alone."""
        try:
            outputs = self._chat(llm, [call.request for call in batch])
        except Exception as exc:  # noqa: BLE001  it belongs to the callers
            if len(batch) == 1:
                batch[0].settle(_as_fault(exc))
                return
            for call in batch:
                self._run(llm, [call])
            return
        for call, output in zip(batch, outputs, strict=True):
            try:
                call.done.set_result(wire.reply_of(output, call.request))
            except Exception as exc:  # noqa: BLE001  as above
                call.settle(_as_fault(exc))

    def _chat(self, llm: Any, requests: list[ChatRequest]) -> Any:
        defaults = llm.model_config.get_diff_sampling_param()
        first = requests[0]
        outputs = llm.chat(
            messages=[wire.conversation(request) for request in requests],
            sampling_params=[_sampling(self._surface, request, defaults) for request in requests],
            tools=wire.tools(first),
            chat_template_kwargs=wire.template_options(first) or None,
            use_tqdm=False,
        )
        if len(outputs) != len(requests):
            raise RuntimeError(f"{len(outputs)} outputs came for {len(requests)} conversations")
        return outputs


class AsyncVllmEngine:
    """Calls that join the running batch at once; implements `clients.chat.ChatEngine`. Loads at the first call."""

    def __init__(self, model: str, options: Mapping[str, Any], *, surface: Surface | None = None) -> None:
        """`surface` is for tests."""
        self.identity = identity_of(model, options)
        self._model = model
        self._options = dict(options)
        self._surface = surface or Vllm()
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loaded: asyncio.Future[Any] | None = None
        self._numbers = itertools.count()

    def __repr__(self) -> str:
        return f"AsyncVllmEngine({self._model})"

    def attempt(self, request: ChatRequest, key: str, *, prefer: int = 0) -> ChatReply:  # noqa: ARG002  one replica
        """One try. Raises `EndpointError`s."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="vllm-loop", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(self._reply(request), self._loop).result()

    async def _reply(self, request: ChatRequest) -> ChatReply:
        engine = await self._engine()
        try:
            options = wire.template_options(request) | {"tools": wire.tools(request)} | RENDERED
            _, prompts = await engine.renderer.render_chat_async(
                [wire.conversation(request)], self._surface.chat_params(options)
            )
            defaults = engine.model_config.get_diff_sampling_param()
            params = _sampling(self._surface, request, defaults, final_only=True)  # so one output comes
            outputs = engine.generate(prompts[0], params, f"datagen-{next(self._numbers)}")
            return wire.reply_of([output async for output in outputs][-1], request)
        except Exception as exc:
            raise _as_fault(exc) from exc

    async def _engine(self) -> Any:
        """The model, loaded once; calls that come meanwhile wait for it."""
        if self._loaded is None:
            self._loaded = asyncio.get_running_loop().create_future()
            try:
                self._loaded.set_result(self._surface.load_async(self._model, self._options))
            except Exception as exc:  # noqa: BLE001  whatever it is, every call hears of it
                self._loaded.set_exception(_not_loaded(self._model, exc))
        return await self._loaded


def _alike(batch: list[_Waiting]) -> list[list[_Waiting]]:
    """`LLM.chat` takes one set of tools and one set of template options per call; a call that it cannot take fails."""
    groups: dict[str, list[_Waiting]] = {}
    for call in batch:
        try:
            shown = canonical_json([wire.tools(call.request), wire.template_options(call.request)])
        except DatagenError as exc:
            call.settle(exc)
            continue
        groups.setdefault(str(shown), []).append(call)
    return list(groups.values())


def _sampling(surface: Surface, request: ChatRequest, defaults: Mapping[str, Any], *, final_only: bool = False) -> Any:
    schema = request.schema.schema if request.schema is not None else None
    return surface.sampling(wire.sampling_arguments(request, defaults), schema, final_only=final_only)


def _as_fault(exc: Exception) -> DatagenError:
    """By type: a request that is wrong stays wrong, anything else may pass."""
    if isinstance(exc, DatagenError):
        return exc
    told = f"vLLM failed with {type(exc).__name__}: {exc}".rstrip(".")
    if CLIENT_FAULTS & {kind.__name__ for kind in type(exc).__mro__}:
        return InvalidRequestError(f"{told}. The same request would fail again.")
    return OverloadedError(f"{told}.")


def _not_loaded(model: str, exc: Exception) -> ConfigError:
    return ConfigError(
        f"vLLM could not load {model} ({type(exc).__name__}: {exc}). Look at engine_options, at the memory of the GPU, "
        "and whether `vllm serve` can load it."
    )
