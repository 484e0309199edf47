"""verl reads an export: `python verl_reads.py EXPORT SERVER WORK`. Prints what its own classes made of it as JSON."""

import asyncio
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "DATAGEN_URL": sys.argv[2]}
sys.path.insert(0, str(Path(__file__).parent))

import tiny_policy
from datasets import load_dataset
from omegaconf import OmegaConf
from verl.tools.tool_registry import load_all_tools
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn
from verl.utils.import_utils import load_extern_object

MODULE = "pkg://datagen.environment.shims.verl_sft"


def rollouts(export: Path, tokenizer) -> dict:
    """What the agent loop gets of a row, and what the batch gives to the reward."""
    config = OmegaConf.create(
        {"tool_config_path": str(export / "tools.yaml"), "max_prompt_length": 4096, "return_raw_chat": True,
         "filter_overlong_prompts_workers": 1}
    )  # fmt: skip
    dataset = RLHFDataset(str(export / "rl" / "train.parquet"), tokenizer, config)
    batch = collate_fn([dataset[i] for i in range(len(dataset))])
    return {
        "rows": len(dataset),
        "dropped_by_a_short_limit": len(dataset)
        - len(RLHFDataset(str(export / "rl" / "train.parquet"), tokenizer, config | {"max_prompt_length": 100})),
        "tool_schemas": dataset.tool_schemas,
        "first": {name: batch[name][0] for name in ("raw_prompt", "tools_kwargs", "index", "agent_name", "extra_info")},
        "truths": [truth["ground_truth"] for truth in batch["reward_model"]],
    }


def rewards(export: Path, truths: list[dict]) -> dict:
    """Scores by the reward function that verl finds in the export's file."""
    path = str(export / "reward.py")
    config = {"reward": {"custom_reward_function": {"path": path, "name": "compute_score", "reward_kwargs": {}}}}
    compute_score = get_custom_reward_fn(OmegaConf.create(config))

    def scores(form: str) -> list[float]:
        return [
            compute_score("datagen", form.format(truth["target"][0]), truth, {"num_turns": 3})["score"]
            for truth in truths
        ]

    turn = "<think>Which?</think><tool_call>\n{{}}\n</tool_call>user\n<tool_response>\n{}\n</tool_response>assistant\n"
    return {
        "right": scores("<tool_response>\nx\n</tool_response>assistant\n<think>So it is.</think>\n\n{}"),
        "wrong": scores("<think>{}</think>\n\nsomething else"),
        "only in a result": scores(turn + "I do not know"),
        "no answer": scores(turn),
    }


def conversations(export: Path, tokenizer) -> dict:
    """The tokens that verl's trainer takes a loss on."""
    dataset_class = load_extern_object(MODULE, "SearchSFTDataset")
    config = OmegaConf.create({"max_length": 60_000, "pad_mode": "no_padding", "truncation": "error"})
    path = export / "sft" / "train.parquet"
    dataset = dataset_class(str(path), tokenizer, config)
    item = dataset[0]
    trained = item["input_ids"][item["loss_mask"].bool()]
    messages = load_dataset("parquet", data_files=str(path), split="train")[0]["messages"]
    return {
        "rows": len(dataset),
        "trained": tokenizer.decode(trained),
        "written": [m for m in messages if m["role"] == "assistant"],
        "whole": tokenizer.decode(item["input_ids"]),
    }


def calls(export: Path) -> dict:
    """One rollout's calls through the tools of tools.yaml, two of them at once."""
    tools = {tool.name: tool for tool in load_all_tools(str(export / "tools.yaml"), None)}
    rollout = SimpleNamespace()

    async def call(name: str, **arguments: object) -> str:
        instance, _ = await tools[name].create(create_kwargs={"task_id": "x"})
        response, reward, _ = await tools[name].execute(instance, arguments, agent_data=rollout)
        await tools[name].release(instance)
        assert reward == 0.0
        return response.text

    async def run() -> list[str]:
        first = await asyncio.gather(call("search", query="football", top_k=2), call("search", query="town"))
        url = json.loads(first[0])["results"][0]["url"]
        return [
            *first,
            await call("visit", url=url),
            await call("visit", url="https://nowhere.example/"),
            await call("search"),
        ]

    texts = asyncio.run(run())
    return {"results": [json.loads(text) for text in texts], "episode": rollout.datagen_episode.result()}


def main(export: Path) -> dict:
    rows = load_dataset("parquet", data_files=str(export / "sft" / "train.parquet"), split="train")
    tokenizer = tiny_policy.tokenizer_of(m["content"] for row in rows for m in row["messages"])
    seen = rollouts(export, tokenizer)
    return {
        "rollouts": seen,
        "rewards": rewards(export, seen["truths"]),
        "conversations": conversations(export, tokenizer),
        "calls": calls(export),
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(Path(sys.argv[1])), default=str))
