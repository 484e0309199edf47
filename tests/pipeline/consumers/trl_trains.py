"""TRL trains on an export: `python trl_trains.py EXPORT SNAPSHOT RELEASE WORK`. Prints what happened as JSON."""

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

os.environ |= {"TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
sys.path.insert(0, str(Path(__file__).parent))

import tiny_policy
import torch
import trl
from transformers.utils import get_json_schema

from datagen.environment.local import TextSearchEnvironment

torch.set_num_threads(1)


def script_of(export: Path):
    """The export's own train.py."""
    spec = importlib.util.spec_from_file_location("train", export / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TEMPLATES = (
    "deepseekv3", "glm4moe", "gptoss", "lfm2_v2", "nemotron_3_nano", "qwen2_5", "qwen3", "qwen3_instruct_2507",
    "qwen3_5_think", "qwen3_6",
)  # fmt: skip


def trained_by_templates(conversation: dict, tokenizer) -> dict:
    """What the loss is on when a conversation of the export is rendered by the templates that TRL brings."""
    folder = Path(trl.__file__).parent / "chat_templates"
    results = [m["content"] for m in conversation["messages"] if m["role"] == "tool"]
    found = {}
    for name in TEMPLATES:
        tokenizer.chat_template = (folder / f"{name}_training.jinja").read_text(encoding="utf-8")
        rendered = tokenizer.apply_chat_template(
            conversation["messages"],
            tools=json.loads(conversation["tools"]),
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        marked = zip(rendered["input_ids"], rendered["assistant_masks"], strict=True)
        text = tokenizer.decode([token for token, trained in marked if trained])
        found[name] = {
            "calls": "query" in text and "url" in text,
            "encoded_twice": '\\"query' in text,
            "nulls": "null" in text or "None" in text,
            "answer": conversation["messages"][-1]["content"].rpartition("</think>")[2].strip() in text,
            "results": any(result[:60] in text for result in results),
        }
    return found


def first_steps(attempt: dict) -> int:
    """Characters up to the second call."""
    said = [place for place, message in enumerate(attempt["messages"]) if message["role"] == "assistant"]
    return sum(len(message["content"]) for message in attempt["messages"][: said[1] + 1])


def main(export: Path, snapshot: str, release: str, work: Path) -> dict:
    train = script_of(export)
    attempts = train.rows("sft")
    texts = [text for row in attempts for text in (row["tools"], *(message["content"] for message in row["messages"]))]
    tiny_policy.write(work / "tiny", texts)
    methods = (TextSearchEnvironment.search, TextSearchEnvironment.visit)
    found = {"tools": [get_json_schema(method) for method in methods], "rl_columns": train.rows("rl").column_names}
    found["templates"] = trained_by_templates(attempts[0], tiny_policy.tokenizer_of(texts))

    def run(name: str, way: str, model: str, **given: object) -> None:
        usual = {"batch": 4, "max-length": 1024, "learning-rate": 0.005, "logging-steps": 1}
        given = usual | {option.replace("_", "-"): value for option, value in given.items()}
        arguments = [way, "--model", str(work / model), "--out", str(work / name)]
        arguments += [part for option, value in given.items() for part in (f"--{option}", str(value))]
        started = time.perf_counter()
        trainer = getattr(train, way)(train.parsed(arguments))
        found[name] = {"seconds": round(time.perf_counter() - started, 1), "log": trainer.state.log_history}

    run("sft", "sft", "tiny", steps=20)
    run("dpo", "dpo", "sft", steps=3)
    # A model this small calls tools once it has learnt an attempt by heart; what it then does runs through all of GRPO.
    every = train.rows
    short = min(range(len(attempts)), key=lambda index: first_steps(attempts[index]))
    task = attempts[short]["task_id"]
    one = {"sft": attempts.select([short]), "rl": every("rl").filter(lambda row: row["task_id"] == task)}
    train.rows = one.get
    run("caller", "sft", "tiny", steps=110, max_length=1280)
    rollouts = {"snapshot": snapshot, "release": release, "generations": 4, "temperature": 0.3}
    run("grpo", "grpo", "caller", steps=3, max_length=2048, **rollouts)
    return found


if __name__ == "__main__":
    export, snapshot, release, work = sys.argv[1:]
    sys.stdout.write(json.dumps(main(Path(export), snapshot, release, Path(work)), default=str))
