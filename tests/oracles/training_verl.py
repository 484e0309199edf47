"""verl: its registered losses, divergences and advantages, called as its trainer calls them."""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

import numpy as np
import torch
from training_tensors import SEED, batch, groups, listed, with_gradient


def verl_losses(core: Any, corrections: Any, make_config: Any) -> list[dict[str, Any]]:
    cases = []

    def add(name: str, **case: Any) -> None:
        arrays = batch(name)
        config = make_config(case)
        advantages = arrays["advantages"][:, None] * arrays["mask"]
        weights = None
        if "rollout_is" in case:
            weights, _ = corrections.compute_rollout_correction_weights(
                arrays["old"] - arrays["sampler"], arrays["mask"], case["rollout_is"], case["threshold"]
            )
        run = core.get_policy_loss_fn(case["mode"])

        def loss(leaf: torch.Tensor) -> torch.Tensor:
            return run(arrays["old"], leaf, advantages, arrays["mask"], case["aggregation"], config, weights)[0]

        cases.append({"batch": name, "settings": case, **with_gradient(loss, arrays["logprobs"])})

    norm = "seq-mean-token-sum-norm"
    every = ("token-mean", "token-sum", "seq-mean-token-sum", norm, "seq-mean-token-mean")
    for aggregation in every:
        info = {"loss_scale_factor": 16} if aggregation == norm else {}
        for low, high, c in ((0.2, 0.2, 3.0), (0.2, 0.28, 3.0), (0.1, 0.3, 1.5)):
            add("wild", mode="vanilla", aggregation=aggregation, low=low, high=high, c=c, info=info)
        add("gentle", mode="vanilla", aggregation=aggregation, low=0.05, high=0.05, c=3.0, info=info)
        # Denominators of a step of which this batch is a part.
        whole = {} if aggregation == "token-sum" else {"batch_num_tokens": 61, "global_batch_size": 17, "dp_size": 1}
        add("wild", mode="vanilla", aggregation=aggregation, low=0.2, high=0.2, c=3.0, info=info | whole)
    for aggregation in ("seq-mean-token-mean", "token-mean", "seq-mean-token-sum"):
        add("tiny", mode="gspo", aggregation=aggregation, low=3e-4, high=4e-4, info={})
        add("wild", mode="gspo", aggregation=aggregation, low=0.2, high=0.28, info={})
    for aggregation in ("seq-mean-token-mean", "token-mean"):
        for low in (0.2, 10.0):
            add("wild", mode="cispo", aggregation=aggregation, low=low, high=0.28, info={})
    for level in ("token", "sequence"):
        for threshold in (1.1, "0.8_1.25"):
            for mode, agg in (("vanilla", "token-mean"), ("gspo", "seq-mean-token-mean"), ("cispo", "token-mean")):
                add(
                    "gentle",
                    mode=mode,
                    aggregation=agg,
                    low=0.2,
                    high=0.2,
                    rollout_is=level,
                    threshold=threshold,
                    info={},
                )
    return cases


def verl_divergences(core: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng([SEED, 7])
    logprobs = torch.tensor(np.round(-np.abs(rng.normal(0, 2, 12)), 6))
    gaps = torch.tensor([0, 0.01, -0.01, 0.3, -0.3, 1, -1, 2.2, -2.2, -4, 25, -25], dtype=torch.float64)
    return [
        {"kind": kind, "logprobs": listed(logprobs), "ref": listed(logprobs - gaps)}
        | with_gradient(lambda leaf, kind=kind: core.kl_penalty(leaf, logprobs - gaps, kind), logprobs)
        for kind in ("k1", "k2", "k3", "k1+", "k3+")
    ]


def verl_advantages(core: Any) -> list[dict[str, Any]]:
    rules = {
        "grpo": core.compute_grpo_outcome_advantage,
        "dr_grpo": functools.partial(core.compute_grpo_outcome_advantage, norm_adv_by_std_in_grpo=False),
        "rloo": core.compute_rloo_outcome_advantage,
        "rloo_vectorized": core.compute_rloo_vectorized_outcome_advantage,
    }
    cases = []
    # Groups of equal and of unequal size, and one of a single attempt.
    for rewards in (groups(), [[1, 0], [0.3, 0.9, 0.1, 0.2, 0.5], [0, 0.5, 2]], [[0.7], [1, 0]]):
        flat = torch.tensor([[reward] for group in rewards for reward in group], dtype=torch.float64)
        index = np.array([place for place, group in enumerate(rewards) for _ in group])
        for name, run in rules.items():
            values = iter(listed(run(flat.clone(), torch.ones(len(flat), 1), index)[0][:, 0]))
            cases.append({"rule": name, "rewards": rewards, "values": [[next(values) for _ in g] for g in rewards]})
    return cases


def from_verl() -> dict[str, Any]:
    # A timer of verl's profiler is imported with it and is not in the lock; nothing here is timed.
    timing = types.ModuleType("codetiming")
    timing.Timer = object  # type: ignore[attr-defined]
    sys.modules["codetiming"] = timing
    import verl
    from verl.trainer.ppo import core_algos, rollout_corr_helper
    from verl.workers.config import ActorConfig

    def make_config(case: dict[str, Any]) -> Any:
        config = ActorConfig(
            strategy="fsdp",
            rollout_n=1,
            use_dynamic_bsz=True,
            clip_ratio=case["low"],
            clip_ratio_low=case["low"],
            clip_ratio_high=case["high"],
            clip_ratio_c=case.get("c", 3.0),
        )
        config.global_batch_info.update(case["info"])
        return config

    return {
        "versions": {"verl": verl.__version__, "torch": torch.__version__},
        "losses": verl_losses(core_algos, rollout_corr_helper, make_config),
        "divergences": verl_divergences(core_algos),
        "advantages": verl_advantages(core_algos),
    }
