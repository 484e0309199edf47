"""The update of TRL's SFTTrainer on frozen rollouts: `.venv-trl/bin/python trl_sft.py FOLDER ROUNDS TOKENS`.

Packed as TRL packs (best fit decreasing, position ids, no padding) into lines of at most TOKENS; the loss is the mean over
the tokens that the policy wrote. Times one update over all lines; collating them is spared.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

os.environ.update(TRL_EXPERIMENTAL_SILENCE="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
warnings.simplefilter("ignore")

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer, models  # noqa: E402
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM, TrainerCallback  # noqa: E402
from trl import SFTConfig, SFTTrainer, pack_dataset  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from rollouts import read, resident_mb, tell  # noqa: E402

torch.set_num_threads(1)


class Told(SFTTrainer):
    """Keeps the losses of its lines, which add up to that of an update."""

    losses: list[float]

    def training_step(self, *arguments: Any, **named: Any) -> Any:
        loss = super().training_step(*arguments, **named)
        self.losses.append(float(loss))
        return loss


class Watch(TrainerCallback):
    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.began = self.memory = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.memory = self.memory or resident_mb()
        self.began = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.process_time() - self.began)


def main() -> None:
    folder, rounds, tokens = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    ids, labels = [], []
    for one in read(folder):
        ids.append(one["prompt"] + one["completion"])
        masks = [0] * len(one["prompt"]) + one["written"]
        labels.append([token if mine else -100 for token, mine in zip(ids[-1], masks, strict=True)])
    longest = max(map(len, ids))
    tokens = max(tokens, longest)  # TRL would cut what is longer
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>")),
        pad_token="<pad>",
        eos_token="<eos>",
    )
    rows = Dataset.from_dict({"input_ids": ids, "labels": labels})
    lines = len(pack_dataset(rows, tokens, "bfd"))
    watch = Watch()
    with tempfile.TemporaryDirectory() as scratch:
        settings = SFTConfig(
            output_dir=scratch, per_device_train_batch_size=1, gradient_accumulation_steps=lines, packing=True,
            packing_strategy="bfd", max_length=tokens, shuffle_dataset=False, max_steps=rounds + 1, learning_rate=1e-4,
            use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True, lr_scheduler_type="constant", max_grad_norm=1.0,
        )  # fmt: skip
        model = Qwen3ForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
        trainer = Told(
            model=model, args=settings, train_dataset=rows, processing_class=tokenizer, callbacks=[watch]
        )  # fmt: skip
        assert len(trainer.train_dataset) == lines
        trainer.losses = []
        trainer.train()
    assert len(watch.seconds) == rounds + 1
    tell(watch.seconds[1:], watch.memory, loss=sum(trainer.losses[:lines]))


if __name__ == "__main__":
    main()
