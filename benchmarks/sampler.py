"""The sampler in this process beside `generate` of transformers: the same tiny Qwen3 model, one thread, in turn.

    python -m benchmarks sampler

Weights are random, so every token is about as likely as any other, and a set of stop tokens ends a turn after as many
tokens on average as one likes. Both draw with temperature 1 and nothing cut off. The sampler records log-probabilities,
which learning needs; `generate` is spared them. A conversation is a prompt and four turns with results of tools in
between; `generate` gets all of it again at each turn, padded, as it keeps nothing between calls. Seconds are processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from datagen.training.engines.base import Sampling
from datagen.training.engines.sampler import LocalEngine

VOCABULARY = 1000


def tiny(kv_heads: int) -> Any:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=kv_heads,
        head_dim=32,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=0.04,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    return Qwen3ForCausalLM(config).eval()


@dataclass(frozen=True, slots=True)
class Load:
    """Sequences that are asked for at once."""

    name: str
    prompts: list[list[int]]
    share: list[str]
    max_tokens: int
    stop: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    """Lengths of what tools say between the turns."""


def words(length: int, number: int) -> list[int]:
    return np.random.default_rng(number).integers(1, VOCABULARY, length).tolist()


def loads(batch: int, shared: int) -> list[Load]:
    short = [words(30 + 2 * (n % 16), n) for n in range(batch)]
    long = [words(shared, n // 8) for n in range(batch)]
    alone, groups = [""] * batch, [f"q{n // 8}" for n in range(batch)]
    stop = tuple(range(1, VOCABULARY // 25))
    return [
        Load(f"{batch} × 48 tokens", short, alone, 48),
        Load(f"{batch} × 25 tokens on average, at most 100", short, alone, 100, stop),
        Load(f"groups of 8 with {shared:,} tokens in common, {batch} × 32", long, groups, 32),
        Load(f"{batch} conversations of 4 turns", short, groups, 100, stop, (100, 200, 150)),
    ]


def ours(model: Any, load: Load) -> Callable[[int], int]:
    """Returns the tokens that were sampled."""
    engine = LocalEngine(model)

    async def conversation(number: int, seed: int) -> int:
        tokens, sampled = load.prompts[number], 0
        for turn, result in enumerate((*load.results, 0)):
            wanted = Sampling(max_tokens=load.max_tokens, stop=load.stop, seed=seed * 10_000 + number * 10 + turn)
            done = await engine.generate(tokens, wanted, session=f"s{number}", share=load.share[number])
            sampled += len(done.token_ids)
            tokens = [*tokens, *done.token_ids, *words(result, number)]
        await engine.release(f"s{number}")
        return sampled

    async def everybody(seed: int) -> int:
        return sum(await asyncio.gather(*(conversation(n, seed) for n in range(len(load.prompts)))))

    def work(seed: int) -> int:
        engine.refresh(seed)  # as after an update: nothing is left of the round before
        return asyncio.run(everybody(seed))

    return work


def generate(model: Any, load: Load) -> Callable[[int], int]:
    def work(seed: int) -> int:
        torch.manual_seed(seed)
        prompts, sampled = load.prompts, 0
        for result in (*load.results, 0):
            longest = max(map(len, prompts))
            ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
            out = model.generate(
                ids,
                attention_mask=(torch.arange(longest) >= torch.tensor([[longest - len(p)] for p in prompts])).long(),
                max_new_tokens=load.max_tokens,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                eos_token_id=list(load.stop) or None,
                pad_token_id=0,
            )[:, longest:].tolist()
            written = [_ended(row, load.stop) for row in out]
            sampled += sum(map(len, written))
            prompts = [[*p, *w, *words(result, n)] for n, (p, w) in enumerate(zip(prompts, written, strict=True))]
        return sampled

    return work


def _ended(row: list[int], stop: tuple[int, ...]) -> list[int]:
    end = next((n for n, token in enumerate(row) if token in stop), len(row) - 1)
    return row[: end + 1]


def compare(model: Any, kv_heads: int, load: Load, rounds: int) -> None:
    ways = {"ours": ours(model, load), "generate": generate(model, load)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    tokens: dict[str, list[int]] = {way: [] for way in ways}
    for seed in range(rounds + 1):  # in turn, so that what else the machine does meets both; the first warms up
        for way, work in ways.items():
            started = time.process_time()
            sampled = work(seed)
            if seed:
                seconds[way].append(time.process_time() - started)
                tokens[way].append(sampled)
    ratios = [theirs / mine for mine, theirs in zip(seconds["ours"], seconds["generate"], strict=True)]
    best = {way: min(taken) for way, taken in seconds.items()}
    told = " | ".join(
        f"{len(load.prompts) / best[way]:,.1f} | {sum(tokens[way]) / sum(seconds[way]):,.0f}" for way in ways
    )
    print(
        f"| {dt.date.today()} | {load.name} | {kv_heads} | {told} | {best['generate'] / best['ours']:.1f} | "
        f"{statistics.median(ratios):.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--shared", type=int, default=1024, help="Tokens that a group has in common.")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--kv-heads", type=int, nargs="+", default=[3, 1])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        "| day | load | kv heads | sequences/s | tokens/s | of generate | tokens/s | ratio of the best | median ratio |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for kv_heads in arguments.kv_heads:
        model = tiny(kv_heads)
        for load in loads(arguments.batch, arguments.shared):
            compare(model, kv_heads, load, arguments.rounds)


if __name__ == "__main__":
    main()
