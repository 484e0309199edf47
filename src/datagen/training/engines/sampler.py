"""An engine in this process, over the weights that are being trained: for models small enough to sample on a CPU.

    engine = LocalEngine(model)
    completion = await engine.generate(prompt, Sampling(max_tokens=24, stop=(2,), seed=17), session="q12-3", share="q12")
    engine.refresh(version=1)           after an update: what was kept belongs to the old weights

Requests queue up and are served in turns of the event loop. A turn lets requests join that wait, reads a piece of what
nobody has read yet, and decodes one token of every running row; a row that is done leaves at once. Between two turns
everything else in the loop runs: tools answer, conversations come back.

    waiting ──join──> reading ──> running ──> done
       results of tools    prompt      one token per turn
                           but what is cached

Nothing is left to clocks and threads: the same requests in the same order give the same batches, hence the same bits.
The tokens of one request depend on the weights, the prompt and its sampling alone, up to rounding (`sampler_draw`).
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from datagen.errors import ConfigError, EngineError
from datagen.training.engines.base import Completion, Sampling
from datagen.training.engines.decoder import Decoder, LeanDecoder, fits
from datagen.training.engines.decoder_generic import CacheDecoder
from datagen.training.engines.sampler_draw import Noise, Rules, draw, noise, rules
from datagen.training.engines.sampler_rows import Conversations, Held

JOIN_SHARE = 1 / 8
"""Requests join when they are this share of the running ones: reading few at a time pays for a pass each time. 1/32 to 1/4
measure alike (`docs/log.md`)."""
PATIENCE = 8
"""Turns after which a request joins even alone."""
READ_TOKENS = 4096
"""Read per turn, so that a pile of long prompts holds nobody up for long."""


@dataclass(slots=True, eq=False)
class Request:
    """One call of `generate`."""

    prompt: list[int]
    sampling: Sampling
    session: str
    share: str
    limit: int
    """Tokens to sample at most, what the context leaves included."""
    numbers: Noise
    future: asyncio.Future[Completion]
    waited: int = 0
    held: Held | None = None
    cached: int = -1
    version: int = 0
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def row(self) -> Held:
        """Its sequence in memory."""
        assert self.held is not None
        return self.held


class LocalEngine:
    """`Engine` over a Hugging Face causal language model, plain or with adapters of `peft`.

    `max_batch` rows decode together; up to `max_sessions` conversations and `max_tokens` tokens of keys and values are kept.
    Conversations that do not fit are forgotten, the least recently used first, and read again when they come back.
    With a `dtype` other than the model's the engine samples from a copy, which `refresh` brings up to date.
    """

    def __init__(
        self,
        model: Any,
        *,
        version: int = 0,
        max_batch: int = 256,
        max_sessions: int = 1024,
        max_tokens: int = 2**19,
        dtype: torch.dtype | None = None,
    ) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._trained = base
        self._model = base if dtype in (None, base.dtype) else copy.deepcopy(base).to(dtype)
        self._version = version
        self.max_batch, self.max_sessions, self.max_tokens = max_batch, max_sessions, max_tokens
        self._decoder = self._built()
        self._conversations = Conversations(self._decoder, max_sessions, max_tokens)
        self._waiting: deque[Request] = deque()
        self._reading: list[Request] = []
        self._running: list[Request] = []
        self._rules: Rules | None = None
        self._task: asyncio.Task[None] | None = None
        self._broken = ""

    @property
    def version(self) -> int:
        """Updates that the weights in use have seen."""
        return self._version

    @property
    def evicted(self) -> int:
        """Conversations that were forgotten for want of memory since the last refresh."""
        return self._conversations.evicted

    def refresh(self, version: int) -> None:
        """The weights have changed: forget all keys and values, and start again if the engine had broken.

        Requests under way keep the tokens they have, with their log-probabilities, and go on under the new weights.
        """
        with torch.no_grad():
            if self._model is not self._trained:
                for mine, theirs in zip(_tensors(self._model), _tensors(self._trained), strict=True):
                    mine.copy_(theirs)
        if self._broken:
            self._decoder = self._built()
        self._decoder.clear()
        self._conversations = Conversations(self._decoder, self.max_sessions, self.max_tokens)
        for request in reversed((*self._running, *self._reading)):
            request.held = None
            self._waiting.appendleft(request)
        self._running, self._reading, self._rules = [], [], None
        self._version, self._broken = version, ""

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, *, session: str = "", share: str = ""
    ) -> Completion:
        """See `Engine`. A prompt that no state of the engine could serve is a `ConfigError`."""
        if self._broken:
            raise EngineError(self._broken)
        tokens = list(prompt)
        limit = self._checked(tokens, sampling)
        loop = asyncio.get_running_loop()
        request = Request(tokens, sampling, session, share, limit, noise(sampling.seed, limit), loop.create_future())
        self._waiting.append(request)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._serve())
        return await request.future

    async def release(self, session: str) -> None:
        """See `Engine`."""
        self._conversations.release(session)

    def _built(self) -> Decoder:
        return LeanDecoder(self._model) if fits(self._model) else CacheDecoder(self._model)

    def _checked(self, prompt: list[int], sampling: Sampling) -> int:
        """How many tokens can be sampled behind the prompt."""
        limit = min(sampling.max_tokens, self._decoder.context - len(prompt))
        if not prompt or limit < 1:
            raise ConfigError(
                f"A prompt of {len(prompt)} tokens, of which {sampling.max_tokens} are to follow, is empty or leaves no room in a "
                f"context of {self._decoder.context}. Lower the token budgets of the episode, or train a model with a longer context."
            )
        if min(prompt) < 0 or max(prompt) >= self._decoder.vocabulary:
            raise ConfigError(
                f"A prompt has the token {max(prompt)} (lowest {min(prompt)}), but the model knows {self._decoder.vocabulary}. "
                "Use the tokenizer that the model was trained with."
            )
        if self._decoder.capacity(len(prompt) + limit) > self.max_tokens:
            raise ConfigError(
                f"A sequence of {len(prompt)} + {limit} tokens needs more key and value memory than max_tokens={self.max_tokens} "
                "allows. Raise it, or lower the tokens per turn."
            )
        return limit

    async def _serve(self) -> None:
        """Turns until nobody is left."""
        try:
            while self._waiting or self._reading or self._running:
                with _evaluating(self._model):
                    self._turn()
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            for request in self._abandoned():
                request.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, everybody who waits has to hear of it
            self._broken = (
                f"The sampler broke at version {self._version}: {type(error).__name__}: {error}. "
                "It works again after refresh() with sound weights."
            )
            for request in self._abandoned():
                failure = EngineError(self._broken)
                failure.__cause__ = error
                request.future.set_exception(failure)

    def _abandoned(self) -> list[Request]:
        """Everybody who still waits for an answer, taken from the queues; nothing in memory is trusted any more."""
        left = [r for r in (*self._running, *self._reading, *self._waiting) if not r.future.done()]
        self._waiting.clear()
        self._running, self._reading, self._rules = [], [], None
        self._decoder.clear()
        self._conversations = Conversations(self._decoder, self.max_sessions, self.max_tokens)
        return left

    def _turn(self) -> None:
        self._drop_cancelled()
        waiting, running = len(self._waiting), len(self._running)
        if waiting:
            idle = not running and not self._reading
            if idle or waiting >= JOIN_SHARE * running or self._waiting[0].waited >= PATIENCE:
                self._admit()
            for request in self._waiting:
                request.waited += 1
        if self._reading:
            self._read()
        if self._running:
            self._step()

    def _drop_cancelled(self) -> None:
        for request in [r for r in (*self._running, *self._reading, *self._waiting) if r.future.done()]:
            for queue in (self._waiting, self._reading, self._running):
                if request in queue:
                    queue.remove(request)
            if request.held is not None:
                self._conversations.close(request.held)
            self._rules = None

    def _admit(self) -> None:
        """Give memory to requests, first come first served, as far as it goes."""
        room = self.max_batch - len(self._running) - len(self._reading)
        while self._waiting and room > 0:
            request = self._waiting[0]
            request.held = self._conversations.open(
                request.prompt + request.ids,
                session=request.session,
                share=request.share,
                room=len(request.prompt) + request.limit,
                together=min(room, len(self._waiting)),
            )
            if request.held is None:
                break
            self._reading.append(self._waiting.popleft())
            room -= 1

    def _read(self) -> None:
        """Read a piece of what is asked for and not cached: all but the last token, which the first step reads."""
        left, taken, chunks, ready = READ_TOKENS, [], [], []
        for request in self._reading:
            held = request.row
            if left <= 0:
                break
            if not self._conversations.settle_donor(held):
                continue
            if request.cached < 0:
                request.cached = len(held.row.tokens)
            missing = held.tokens[len(held.row.tokens) : -1]
            if len(missing) <= left:
                ready.append(request)
            if missing:
                taken.append(held.row)
                chunks.append(missing[:left])
                left -= len(missing)
        if taken:
            self._decoder.extend(taken, chunks)
        for request in ready:
            request.row.reading = False
            self._reading.remove(request)
            self._running.append(request)
            self._rules = None

    @torch.inference_mode()
    def _step(self) -> None:
        """One token for every running row."""
        if self._rules is None:
            self._rules = rules([r.sampling for r in self._running], self._model.device)
        last = [(r.ids or r.prompt)[-1] for r in self._running]
        logits = self._decoder.step([r.row.row for r in self._running], last)
        drawn, scores = draw(logits, self._rules, np.array([r.numbers[len(r.ids)] for r in self._running]))
        logprobs = scores.tolist()
        if not np.isfinite(logprobs).all():
            raise FloatingPointError("log-probabilities are not finite")
        running = []
        for request, token, logprob in zip(self._running, drawn.tolist(), logprobs, strict=True):
            if not request.ids:
                request.version = self._version
            request.ids.append(token)
            request.logprobs.append(logprob)
            if token in request.sampling.stop:
                self._finish(request, "stop")
            elif len(request.ids) == request.limit:
                self._finish(request, "length")
            else:
                running.append(request)
        if len(running) != len(self._running):
            self._running, self._rules = running, None

    def _finish(self, request: Request, reason: Literal["stop", "length"]) -> None:
        self._conversations.close(request.row)
        request.future.set_result(
            Completion(
                tuple(request.ids), tuple(request.logprobs), reason, request.version, cached_tokens=request.cached
            )
        )


def _tensors(model: Any) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


@contextlib.contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without dropout, also while the learner has the model in training mode."""
    training = [module for module in model.modules() if module.training] if model.training else []
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
