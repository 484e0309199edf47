"""The one thing that an engine does: tokens in, tokens out.

    completion = await engine.generate(prompt, Sampling(max_tokens=64, stop=(2,), seed=17), session="q12-3")

The prompt of a later turn is the earlier prompt, what the engine wrote, and the tokens of the results: text is never
tokenised again. `session` lets an engine find the keys and values of the earlier turns; it is a hint and changes no token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose tokens. Policies are trained with top_p 1: a cut distribution biases the ratio by the mass it keeps."""

    max_tokens: int = 256
    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    stop: tuple[int, ...] = ()
    """Tokens that end a turn; the one that did is the last of the completion."""
    seed: int = 0
    """Unique to a request: servers that run several engines otherwise repeat themselves."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What was sampled, the stop token included."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of each token under the distribution it was drawn from, temperature included; under temperature 0, that of 1."""
    finish_reason: Literal["stop", "length"]
    version: int
    """Updates that the weights had seen when the first of the tokens was sampled."""
    cached_tokens: int = field(default=0, compare=False)
    """Tokens of the prompt whose keys and values were there already."""


class Engine(Protocol):
    """Samples from a policy. Many requests are under way at once."""

    @property
    def version(self) -> int:
        """Updates that the weights in use have seen."""
        ...

    async def generate(
        self, prompt: Sequence[int], sampling: Sampling, *, session: str = "", share: str = ""
    ) -> Completion:
        """`share`: requests with one name begin with the same prompt (a group of attempts at one question).

        Raises `EngineError` where the engine broke: such an attempt has no reward, rather than 0.
        """
        ...

    async def release(self, session: str) -> None:
        """The conversation is over: what is kept for it can go."""
        ...
