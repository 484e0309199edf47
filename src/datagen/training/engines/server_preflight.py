"""Whether what a server says can be trained on, found out by asking it.

Servers take settings that they do not know and answer as if nothing had been asked. So nothing is believed here that was
not seen in a reply:

    ids         the prompt's ids are the ones that were sent, and every token comes back with its id and log-probability
    greedy      at temperature 0, twice, the same tokens
    stop        a token to stop at ends the reply and is its last
    seeds       other seeds give other tokens
    processed   log-probabilities are those of the distribution that was drawn from, temperature included: near
                temperature 0 a token that is drawn has a probability near 1, whatever the model's own was

The last one is vLLM's --logprobs-mode processed_logprobs; its default are those of the raw model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datagen.errors import ConfigError, DatagenError
from datagen.training.engines.base import Completion, Sampling
from datagen.training.engines.server_lines import ServerLines
from datagen.training.engines.server_wire import Serving, completion_of, request_body

TOKENS = 8
SEEDS = (1, 2, 3, 4)
COLD = 0.02
"""A temperature at which the likeliest token is drawn nearly always; vLLM takes none below 0.01."""
UNSURE = -0.05
"""Nats. The sum over a reply has to be lower, or raw and processed log-probabilities are too near to be told apart."""
ALIKE = 0.1
"""Share by which the two sums may differ where they are the same numbers, computed twice in bf16."""


async def check_server(
    lines: ServerLines, url: str, serving: Serving, prompt: tuple[int, ...], *, seconds: float
) -> None:
    """Raises `ConfigError` with what is amiss and how to start the server instead."""
    probe = _Probe(lines, url, serving, seconds)
    greedy = await probe.ask(prompt, Sampling(TOKENS, temperature=0.0, seed=1))
    again = await probe.ask(prompt, Sampling(TOKENS, temperature=0.0, seed=2))
    if greedy.token_ids != again.token_ids:
        raise probe.refusal(
            f"greedy sampling gave {greedy.token_ids} and then {again.token_ids}",
            "look for an option that draws at random whatever the temperature is",
        )
    await _check_stop(probe, prompt, greedy)
    await _check_seeds(probe, prompt)
    await _check_processed(probe, prompt)


async def _check_stop(probe: _Probe, prompt: tuple[int, ...], greedy: Completion) -> None:
    last = greedy.token_ids[len(greedy.token_ids) // 2]
    wanted = greedy.token_ids[: greedy.token_ids.index(last) + 1]
    stopped = await probe.ask(prompt, Sampling(TOKENS, temperature=0.0, stop=(last,), seed=3))
    if stopped.token_ids != wanted or stopped.finish_reason != "stop":
        raise probe.refusal(
            f"told to stop at token {last} it gave {stopped.token_ids} ({stopped.finish_reason}) instead of {wanted}",
            "take a server that knows stop_token_ids and returns the token it stopped at",
        )


async def _check_seeds(probe: _Probe, prompt: tuple[int, ...]) -> None:
    drawn = {(await probe.ask(prompt, Sampling(2 * TOKENS, temperature=2.0, seed=seed))).token_ids for seed in SEEDS}
    if len(drawn) == 1:
        raise probe.refusal(
            f"{len(SEEDS)} seeds gave the same {2 * TOKENS} tokens at temperature 2, so attempts would be copies",
            "leave --seed out, and look for a proxy that keeps replies",
        )


async def _check_processed(probe: _Probe, prompt: tuple[int, ...]) -> None:
    for words in (prompt, prompt[::-1], prompt + prompt, prompt[:1]):
        greedy = await probe.ask(words, Sampling(TOKENS, temperature=0.0))
        cold = await probe.ask(words, Sampling(TOKENS, temperature=COLD))
        same = _common(greedy.token_ids, cold.token_ids)
        own, drawn = sum(greedy.logprobs[:same]), sum(cold.logprobs[:same])
        if own > UNSURE:
            continue
        if abs(drawn - own) <= ALIKE * abs(own):
            raise probe.refusal(
                f"log-probabilities do not depend on the temperature ({drawn:.3f} for {same} tokens, at 0 and at {COLD})",
                "start it with --logprobs-mode processed_logprobs",
            )
        return
    raise ConfigError(
        f"whether {probe.url} gives processed log-probabilities cannot be told, for the model is sure of every token after "
        f"the prompt {list(prompt)}; call preflight with another prompt."
    )


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Length of what two sequences begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@dataclass(frozen=True, slots=True)
class _Probe:
    lines: ServerLines
    url: str
    serving: Serving
    seconds: float

    async def ask(self, prompt: tuple[int, ...], sampling: Sampling) -> Completion:
        try:
            body = request_body(prompt, sampling, self.serving)
            reply = await self.lines.post(self.url, "/v1/completions", body, seconds=self.seconds)
            completion = completion_of(reply, sampling, self.serving.version)
        except DatagenError as exc:
            raise self.refusal(str(exc), "start it as below and see whether it answers") from exc
        self._check_prompt(prompt, reply)
        return completion

    def _check_prompt(self, prompt: tuple[int, ...], reply: Any) -> None:
        read = reply["choices"][0].get("prompt_token_ids")
        if read is not None and tuple(read) != prompt:
            raise self.refusal(f"sent the ids {list(prompt)}, it read {read}", "take a server that adds no tokens")

    def refusal(self, found: str, remedy: str) -> ConfigError:
        return ConfigError(
            f"{self.url} ({self.serving.model}) cannot be trained on: {found.rstrip('.')}. To mend it, {remedy}: vllm serve "
            "MODEL --logprobs-mode processed_logprobs --generation-config vllm --enable-lora."
        )
