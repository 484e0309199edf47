"""verifiers loads an export by its id: `python verifiers_loads.py EXPORT ANSWERS`. Prints what its taskset is as JSON."""

import asyncio
import json
import sys
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])

import verifiers.v1 as vf
from verifiers.v1.utils.loaders import taskset_config_type

ID = "datagen-search"


def traced(text: str) -> SimpleNamespace:
    """As much of a trace as the reward reads."""
    message = SimpleNamespace(content=text, tool_calls=None)
    return SimpleNamespace(assistant_messages=[message], last_reply=text)


def main(answers: dict[str, str]) -> dict:
    config = taskset_config_type(ID)(id=ID, split="train", tools={"url": "http://127.0.0.1:1/mcp"})
    taskset = vf.load_taskset(config)
    tasks = list(taskset)
    score = {
        name: [asyncio.run(task.correct(traced(form.format(answers[task.key])))) for task in tasks]
        for name, form in (("right", "<think>So.</think>\n\n{}"), ("wrong", "not {} at all"))
    }
    return {
        "class": type(taskset).__name__,
        "keys": [task.key for task in tasks],
        "data": [task.data.model_dump(mode="json") for task in tasks],
        "rewards": score,
        "toolsets": [type(tools).__name__ for tools in type(taskset).toolsets(config)],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[2]))))
