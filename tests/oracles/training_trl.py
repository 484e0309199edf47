"""TRL: `_compute_loss` of its trainers on tensors, and its statements for advantages and sampler weights."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
import types
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from training_tensors import LENGTHS, SEED, TOKENS, batch, groups, listed, with_gradient


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
