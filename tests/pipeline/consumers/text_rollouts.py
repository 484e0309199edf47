"""OpenRLHF's and SkyRL's own loops over their exports: `python text_rollouts.py OPENRLHF SKYRL SERVER`. Prints JSON.

The policy is a script: search, read the first result, answer with what it was told to. Everything else is the trainers'.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "DATAGEN_URL": sys.argv[3]}
sys.path.insert(0, str(Path(__file__).parent))

import skyrl_gym
import tiny_policy
from datasets import load_dataset
from openrlhf.datasets.prompts_dataset import PromptDataset
from skyrl_gym.envs import register

END = "<|im_end|>"


def call(name: str, **arguments: object) -> str:
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}) + "\n</tool_call>"


def next_turn(seen: str, answer: str) -> str:
    """What the scripted policy says after the results that it has seen."""
    if "<tool_response>" not in seen:
        return (
            "<think>Where to begin?</think>" + call("search", query="register", top_k=2) + call("search", query="list")
        )
    if '"page_id"' not in seen:
        first = json.loads(seen.partition("<tool_response>\n")[2].partition("\n</tool_response>")[0])
        return call("visit", url=first["results"][0]["url"])
    return f"<think>That is it.</think>\n\n{answer}"


class ScriptedEngine:
    """Answers OpenRLHF's executor as its vLLM engine does."""

    def __init__(self, tokenizer, answer: str, prompt: str) -> None:
        self.tokenizer, self.answer, self.prompt = tokenizer, answer, prompt

    async def generate(self, tokens, sampling_params, multi_modal_data=None):
        del sampling_params, multi_modal_data
        seen = self.tokenizer.decode(tokens)[len(self.prompt) :]
        text = next_turn(seen, self.answer) + END
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, text=text, finish_reason="stop", logprobs=None)])


def openrlhf(export: Path) -> dict:
    """`PromptDataset` and the executor that `--train.agent_func_path` names."""
    rows = load_dataset("json", data_files=str(export / "rl" / "train.jsonl"), split="train")
    tokenizer = tiny_policy.tokenizer_of(m["content"] for row in rows for m in row["prompt"])
    arguments = SimpleNamespace(data=SimpleNamespace(input_key="prompt", label_key="label", apply_chat_template=True))
    strategy = SimpleNamespace(args=arguments, is_rank_0=lambda: False)
    source, prompt, label, _ = PromptDataset(rows, tokenizer, strategy)[0]

    namespace: dict = {}
    exec(compile((export / "agent.py").read_text(), "agent.py", "exec"), namespace)
    found = {"source": source, "prompt": prompt}
    for name, answer in (("right", json.loads(label)["target"][0]), ("wrong", "something else")):
        engine = ScriptedEngine(tokenizer, answer, prompt)
        sampling = SimpleNamespace(max_tokens=1024, logprobs=None)
        executor = namespace["AgentExecutor"]()
        done = asyncio.run(executor.execute(prompt, label, sampling, 100_000, tokenizer, engine))
        tokens = done["observation_tokens"]
        found[name] = {
            "reward": float(done["reward"]),
            "scores": float(done["scores"]),
            "text": tokenizer.decode(tokens)[len(prompt) :],
            "trained": [tokenizer.decode(tokens[a:b]) for a, b in done["action_ranges"]],
        }
    return found


def skyrl(export: Path) -> dict:
    """The environment as SkyRL's generator makes and steps it."""
    register(id="datagen_search", entry_point="datagen.environment.shims.skyrl_env:SearchEnv")
    row = load_dataset("parquet", data_files=str(export / "rl" / "train.parquet"), split="train")[0]
    prompt, env_class, extras = row.pop("prompt"), row.pop("env_class"), row
    found = {"env_class": env_class}
    for name, answer in (("right", extras["reward_spec"]["ground_truth"]["target"][0]), ("wrong", "something else")):
        environment = skyrl_gym.make(env_class, env_config=SimpleNamespace(), extras={**extras, "max_turns": 8})
        messages, _ = environment.init(list(prompt))
        done, steps = False, []
        while not done:
            seen = "".join(m["content"] for m in messages[2:] if m["role"] == "user")
            step = environment.step(next_turn(seen, answer) + END)
            done = step["done"]
            messages = [*messages, {"role": "assistant", "content": ""}, *step["observations"]]
            steps.append({"reward": step["reward"], "done": done, "metadata": step["metadata"]})
        found[name] = {"steps": steps, "shown": [m["content"] for m in messages[2:] if m["role"] == "user"]}
    return found


if __name__ == "__main__":
    found = {"openrlhf": openrlhf(Path(sys.argv[1])), "skyrl": skyrl(Path(sys.argv[2]))}
    sys.stdout.write("\n" + json.dumps(found, default=str))
