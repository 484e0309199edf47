"""What verl's and TRL's own functions give on random tensors: values and gradients, as JSON for the tests of ours.

    .venv-verl/bin/python tests/oracles/training_oracles.py verl      writes tests/fixtures/training_verl.json
    .venv-trl/bin/python  tests/oracles/training_oracles.py trl       writes tests/fixtures/training_trl.json

`make test` builds both environments (requirements-verl.lock, requirements-trl.lock). The same seed gives the same numbers
in both. Everything is in double precision; inputs are rounded to six decimals first, so that JSON holds them exactly.

Every number comes out of code of the peer: its registered losses, advantages and aggregations where it has functions;
for TRL, which has one method, `GRPOTrainer._compute_loss` and `DPOTrainer._compute_loss` called on an object that carries
the attributes they read, the model's forward pass being replaced by the tensors of the batch; and those statements of
`_generate_and_score_completions` that compute advantages and sampler weights, taken out of the source by their condition.
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import math
import sys
import textwrap
import types
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

SEED = 20260917
FIXTURES = Path(__file__).parents[1] / "fixtures"
LENGTHS = (10, 7, 1, 0, 9, 4, 10, 8)
TOKENS = 10
# How far the policy has moved from what sampled: inside all clips, around GSPO's, far outside of everything.
DISTANCE = {"gentle": 0.08, "tiny": 4e-4, "wild": 1.3}
ROW_ADVANTAGES = (-1.0, 0.75, 0.5, -1.25, -0.4, 0.0, -0.6, 1.1)

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def batch(name: str) -> dict[str, torch.Tensor]:
    """(8, 10) arrays with rows of all lengths, one of them empty, and gaps where a tool spoke."""
    rng = np.random.default_rng([SEED, sorted(DISTANCE).index(name)])
    shape = (len(LENGTHS), TOKENS)
    mask = (np.arange(TOKENS) < np.array(LENGTHS)[:, None]).astype(float)
    mask[0, 3:5] = 0
    mask[4, 2] = 0
    logprobs = -np.abs(rng.normal(0, 1.2, shape))
    arrays = {
        "logprobs": logprobs,
        "old": logprobs - rng.normal(0, DISTANCE[name], shape),
        "ref": logprobs - rng.normal(0, 0.5, shape),
        "entropy": rng.uniform(0.05, 2.5, shape),
        "mask": mask,
        "advantages": np.array(ROW_ADVANTAGES),
    }
    arrays["sampler"] = arrays["old"] - rng.normal(0, 0.15, shape)
    return {key: torch.tensor(np.round(value, 6)) for key, value in arrays.items()}


def listed(tensor: torch.Tensor) -> Any:
    """Nested lists with twelve digits; null for what is no number."""
    if tensor.dim():
        return [listed(inner) for inner in tensor.detach()]
    value = float(tensor.detach())
    return float(f"{value:.12g}") if math.isfinite(value) else None


def with_gradient(loss: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> dict[str, Any]:
    leaf = at.clone().requires_grad_()
    value = loss(leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return {"value": listed(value), "gradient": listed(gradient)}


def groups() -> list[list[float]]:
    """Rewards of groups of four: mixed, tied, nearly solved, and spread."""
    rng = np.random.default_rng([SEED, 99])
    return [[1, 0, 0, 1], [0.2, 0.9, 0.4, 0.5], [0.1] * 4, [1, 1, 1, 0.1], np.round(rng.normal(0, 2, 4), 3).tolist()]


# ---------------------------------------------------------------------------------------------------------------- verl


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


# ----------------------------------------------------------------------------------------------------------------- TRL


class OneProcess:
    """What TRL asks of accelerate where there is one process."""

    num_processes = 1
    sync_gradients = True
    device = torch.device("cpu")

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor

    gather_for_metrics = gather

    def reduce(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        return tensor

    def pad_across_processes(self, tensor: torch.Tensor, **_: Any) -> torch.Tensor:
        return tensor


def statements(function: Any, condition: str, assigned: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The one `if` of a function that has this condition and assigns this name, to be run on given names."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and ast.unparse(node.test) == condition
        and any(isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.id == assigned for n in ast.walk(node))
    ]
    (node,) = found
    code = compile(ast.Module(body=[node], type_ignores=[]), f"<{condition}>", "exec")

    def run(names: dict[str, Any]) -> dict[str, Any]:
        scope = dict(vars(inspect.getmodule(function))) | names
        exec(code, scope)
        return scope

    return run


def trl_trainer(kind: Any, case: dict[str, Any], forward: Any) -> Any:
    """What `_compute_loss` reads of itself."""
    trainer = types.SimpleNamespace(
        accelerator=OneProcess(),
        args=types.SimpleNamespace(
            delta=case.get("delta"), use_bias_correction_kl=False, steps_per_generation=1, entropy_target=None
        ),
        aux_loss_enabled=False,
        beta=case.get("beta", 0.0),
        current_gradient_accumulation_steps=1,
        entropy_coef=case.get("entropy_coef", 0.0),
        epsilon_high=case["high"],
        epsilon_low=case.get("low"),
        importance_sampling_level=case.get("level", "token"),
        loss_type=case["loss_type"],
        max_completion_length=16,
        model=types.SimpleNamespace(training=True),
        off_policy_mask_threshold=case.get("off_policy"),
        top_entropy_quantile=case.get("top_entropy", 1.0),
        use_adaptive_entropy=False,
        use_vllm="correction" in case,
        vllm_importance_sampling_correction="correction" in case,
        _entropy_bonus_enabled=case.get("entropy_coef", 0.0) != 0,
        _get_per_token_logps_and_entropies=forward,
        _metrics={"train": defaultdict(list)},
        get_off_policy_mask=kind.get_off_policy_mask,
    )
    trainer.get_high_entropy_mask = types.MethodType(kind.get_high_entropy_mask, trainer)
    return trainer


def trl_losses(kind: Any) -> list[dict[str, Any]]:
    weigh = statements(
        kind._generate_and_score_completions,
        "self.use_vllm and self.vllm_importance_sampling_correction",
        "vllm_importance_sampling_ratio",
    )
    cases = []

    def add(name: str, **case: Any) -> None:
        arrays = batch(name)
        mask = arrays["mask"]
        ids = torch.zeros(mask.shape, dtype=torch.long)
        inputs = {
            "prompt_ids": ids[:, :1],
            "prompt_mask": torch.ones(len(ids), 1),
            "completion_ids": ids,
            "completion_mask": (torch.arange(TOKENS) < torch.tensor(LENGTHS)[:, None]).double(),
            "tool_mask": mask,
            "advantages": arrays["advantages"],
            "old_per_token_logps": arrays["old"],
            "ref_per_token_logps": arrays["ref"],
            "num_items_in_batch": mask.sum(),
        }
        if "off_policy" in case:
            inputs["sampling_per_token_logps"] = arrays["sampler"]
        if "correction" in case:
            mode, low, high = case["correction"]
            trainer = types.SimpleNamespace(
                use_vllm=True,
                vllm_importance_sampling_correction=True,
                vllm_importance_sampling_mode=mode,
                vllm_importance_sampling_clip_min=low,
                vllm_importance_sampling_clip_max=high,
            )
            inputs["importance_sampling_ratio"] = weigh(
                {
                    "self": trainer,
                    "completion_mask": inputs["completion_mask"],
                    "tool_mask": mask,
                    "old_per_token_logps": arrays["old"],
                    "sampling_per_token_logps": arrays["sampler"],
                }
            )["vllm_importance_sampling_ratio"]

        def loss(leaf: torch.Tensor) -> torch.Tensor:
            forward = lambda *_, **__: (leaf, arrays["entropy"], None)  # noqa: E731
            return kind._compute_loss(trl_trainer(kind, case, forward), None, inputs)

        cases.append({"batch": name, "settings": case, **with_gradient(loss, arrays["logprobs"])})

    for loss_type in ("grpo", "bnpo", "dapo", "dr_grpo"):
        add("gentle", loss_type=loss_type, low=0.05, high=0.05)
        add("wild", loss_type=loss_type, low=0.2, high=0.28)
        add("wild", loss_type=loss_type, low=0.2, high=0.2, delta=2.0)
        add("wild", loss_type=loss_type, low=0.2, high=0.2, beta=0.04)
        add("wild", loss_type=loss_type, low=0.2, high=0.28, level="sequence")
    for loss_type in ("grpo", "luspo"):
        add("tiny", loss_type=loss_type, low=3e-4, high=4e-4, level="sequence")
        add("wild", loss_type=loss_type, low=0.2, high=0.28, level="sequence", delta=1.6)
    add("wild", loss_type="luspo", low=0.2, high=0.28)
    for cap in (1.28, 5.0):
        add("wild", loss_type="cispo", high=cap)
        add("gentle", loss_type="cispo", high=cap, beta=0.04)
    for loss_type in ("bnpo", "dapo"):
        add("wild", loss_type=loss_type, low=0.2, high=0.2, entropy_coef=0.01)
    for limit in (0.05, 0.4):
        add("wild", loss_type="grpo", low=0.2, high=0.2, off_policy=limit)
    # TRL takes the quantile in single precision: shares for which it falls between two tokens, not on one.
    for share in (0.25, 0.5):
        add("wild", loss_type="dapo", low=0.2, high=0.2, top_entropy=share)
    for mode in ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"):
        for low, high in ((None, 1.1), (0.8, 1.25)):
            add("gentle", loss_type="grpo", low=0.2, high=0.2, correction=(mode, low, high))
    return cases


def trl_advantages(kind: Any) -> list[dict[str, Any]]:
    normalise = statements(
        kind._generate_and_score_completions,
        "self.multi_objective_aggregation == 'sum_then_normalize'",
        "advantages",
    )
    cases = []
    absent: list[list[float | None]] = [[1, None, 0, 0.5], [0.3, 0.9, None, None]]
    for rewards in (groups(), absent):
        table = torch.tensor([[math.nan if r is None else r] for group in rewards for r in group], dtype=torch.float64)
        for scale in ("group", "batch", "none"):
            trainer = types.SimpleNamespace(
                multi_objective_aggregation="sum_then_normalize",
                reward_weights=torch.ones(1),
                scale_rewards=scale,
            )
            names = {
                "self": trainer,
                "rewards_per_func": table,
                "unscorable_mask": torch.isnan(table).all(dim=1),
                "num_generations": 4,
                "device": "cpu",
            }
            values = normalise(names)["advantages"].view(-1, 4)
            cases.append({"scale": scale, "rewards": rewards, "values": listed(values)})
    return cases


def trl_preferences(kind: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng([SEED, 11])
    cases = []

    def add(lengths: tuple[int, ...], **case: Any) -> None:
        """`lengths`: tokens of the chosen rows, then of the rejected ones; the first token of a row is a prompt."""
        mask = (np.arange(1 + max(lengths)) <= np.array(lengths)[:, None]).astype(float)
        mask[:, 0] = 0
        completion = torch.tensor(mask)
        logprobs = torch.tensor(np.round(-np.abs(rng.normal(0, 1, mask[:, 1:].shape)), 6))
        ref = torch.tensor(np.round(logprobs.numpy() - rng.normal(0, 0.6, logprobs.shape), 6)) * completion[:, 1:]
        chosen, rejected = ref.sum(1).chunk(2)
        inputs = {
            "input_ids": torch.zeros(mask.shape, dtype=torch.long),
            "attention_mask": torch.ones(mask.shape),
            "completion_mask": completion,
            "ref_chosen_logps": chosen,
            "ref_rejected_logps": rejected,
        }
        trainer = types.SimpleNamespace(
            accelerator=OneProcess(), aux_loss_enabled=False, beta=case["beta"], f_divergence_type="reverse_kl",
            label_smoothing=case.get("label_smoothing", 0.0), ld_alpha=None, loss_types=[case["loss_type"]],
            loss_weights=[1.0], model=types.SimpleNamespace(training=True), precompute_ref_logps=True,
            use_weighting=False, _metrics={"train": defaultdict(list)}, _total_train_tokens=0, _tp_size=1,
        )  # fmt: skip

        def loss(leaf: torch.Tensor) -> torch.Tensor:
            zero = torch.zeros(leaf.shape)
            # A model asked with labels gives 0 where a token has none.
            seen = types.SimpleNamespace(
                log_probs=leaf * completion[:, 1:], entropy=zero, mean_logits=zero, is_top1=zero.bool()
            )
            return kind._compute_loss(trainer, lambda **_: seen, inputs, return_outputs=False)

        arrays = {"logprobs": listed(logprobs), "ref": listed(ref), "mask": listed(completion[:, 1:])}
        cases.append({"settings": case, **arrays, **with_gradient(loss, logprobs)})

    for beta in (0.1, 0.7):
        add((5, 2, 7, 3, 6, 1), loss_type="sigmoid", beta=beta)
        add((5, 2, 7, 3, 6, 1), loss_type="sigmoid_norm", beta=20 * beta)
        # Over one pair, sorting does nothing, and this is the conservative loss with smoothed labels.
        add((4, 6), loss_type="aot_unpaired", beta=beta, label_smoothing=0.1)
    return cases


def from_trl() -> dict[str, Any]:
    import trl
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.grpo_trainer import GRPOTrainer

    return {
        "versions": {"trl": trl.__version__, "torch": torch.__version__},
        "losses": trl_losses(GRPOTrainer),
        "advantages": trl_advantages(GRPOTrainer),
        "preferences": trl_preferences(DPOTrainer),
    }


def main() -> None:
    peer = sys.argv[1] if len(sys.argv) == 2 else ""
    if peer not in ("verl", "trl"):
        raise SystemExit(__doc__)
    found = from_verl() if peer == "verl" else from_trl()
    batches = {
        name: {key: listed(value) for key, value in batch(name).items()}
        for name in sorted({case["batch"] for case in found["losses"]})
    }
    path = FIXTURES / f"training_{peer}.json"
    path.parent.mkdir(exist_ok=True)
    written = {"written_by": "tests/oracles/training_oracles.py", "seed": SEED, "batches": batches, **found}
    path.write_text(json.dumps(written, separators=(",", ":")) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB, {len(found['losses'])} losses\n")


if __name__ == "__main__":
    main()
