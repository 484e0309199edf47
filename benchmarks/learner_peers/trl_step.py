"""The update of TRL's synchronous GRPOTrainer on frozen rollouts: `.venv-trl/bin/python trl_step.py FOLDER ROUNDS MICRO`.

With SHAPE and DEVICE behind these, the model has that shape, float32 weights, and computes under autocast to bfloat16, and
seconds are those of the clock.

Times from the moment the batch is prepared until the optimiser has stepped: sampling, decoding and rewards are spared.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # its trainer would spread over all
os.environ.update(TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
warnings.simplefilter("ignore")

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer, models  # noqa: E402
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM, TrainerCallback  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from shapes import build  # noqa: E402

from rollouts import WARM, read, resident_mb, tell  # noqa: E402

SHAPE, DEVICE = sys.argv[4:6] or ["", "cpu"]
torch.set_num_threads(1)


def clock() -> float:
    """Processor time, or time after everything given to the GPU is done."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() if SHAPE else time.process_time()


class Timed(GRPOTrainer):
    """Starts its watch once a micro-batch is prepared."""

    taken = 0.0

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        began = clock()
        prepared = super()._prepare_inputs(generation_batch)
        self.taken += clock() - began
        return prepared


class Watch(TrainerCallback):
    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.trainer: Timed | None = None
        self.began = self.memory = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if not self.memory:
            self.memory = resident_mb()
            if DEVICE == "cuda":
                torch.cuda.reset_peak_memory_stats()
        assert self.trainer is not None
        self.trainer.taken = 0.0
        self.began = clock()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        assert self.trainer is not None
        self.seconds.append(clock() - self.began - self.trainer.taken)


def main() -> None:
    folder, rounds, micro = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    frozen = read(folder)
    vocabulary = {"<pad>": 0, "<eos>": 1} | {f"w{number}": number for number in range(2, 2000)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>")),
        pad_token="<pad>",
        eos_token="<eos>",
    )

    def replay(prompts: list[str], trainer: Any) -> dict[str, Any]:  # noqa: ARG001  TRL passes both
        assert len(prompts) == len(frozen)
        return {
            "prompt_ids": [one["prompt"] for one in frozen],
            "completion_ids": [one["completion"] for one in frozen],
            "logprobs": [[-7.0] * len(one["completion"]) for one in frozen],
            "env_mask": [one["written"] for one in frozen],
        }

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return [float(number % 2) for number in range(len(completions))]

    watch = Watch()
    warm = WARM if SHAPE else 1
    with tempfile.TemporaryDirectory() as scratch:
        settings = GRPOConfig(
            output_dir=scratch, per_device_train_batch_size=micro, gradient_accumulation_steps=len(frozen) // micro,
            num_generations=8, max_steps=rounds + warm, learning_rate=1e-4, beta=0.0, loss_type="dapo",
            max_completion_length=4096, use_cpu=DEVICE == "cpu", bf16=bool(SHAPE), gradient_checkpointing=False,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, lr_scheduler_type="constant",
        )  # fmt: skip
        load = Qwen3ForCausalLM.from_pretrained
        model = build(SHAPE, DEVICE) if SHAPE else load(folder / "model", dtype=torch.float32)
        trainer = Timed(
            model=model, args=settings,
            reward_funcs=reward, processing_class=tokenizer, rollout_func=replay, callbacks=[watch],
            train_dataset=Dataset.from_dict({"prompt": ["w5 w6"] * 64}),
        )  # fmt: skip
        watch.trainer = trainer
        trainer.train()
    peak = torch.cuda.max_memory_allocated() / 2**20 if DEVICE == "cuda" else None
    tell(watch.seconds[warm:], watch.memory, peak_mb=peak)


if __name__ == "__main__":
    main()
