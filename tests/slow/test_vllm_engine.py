"""vLLM itself, in this process, with a tiny random model: what the stand-in of the unit tests can only assume.

    pytest -m slow tests/slow/test_vllm_engine.py

Needs `pip install "datagen[vllm]"` and a GPU; skips with the reason otherwise.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datagen.clients.capabilities import Capability, probe
from datagen.clients.chat import ChatRequest, Message, ModelSpec, ReplySchema, Sampling, Tool
from datagen.clients.vllm_chat import AsyncVllmEngine, VllmEngine

pytestmark = pytest.mark.slow

MAKER = Path(__file__).parents[1] / "pipeline" / "tiny_model.py"
OPTIONS = {"max_model_len": 2048, "gpu_memory_utilization": 0.3, "enforce_eager": True}
LOOK = Tool("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})
COLOUR = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


def reason_not_to_run() -> str:
    if importlib.util.find_spec("vllm") is None:
        return 'vLLM is not installed: pip install "datagen[vllm]"'
    import torch

    return "" if torch.cuda.is_available() else "vLLM's wheels need a GPU, and torch finds none"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    if reason := reason_not_to_run():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("vllm") / "tiny-qwen3"
    subprocess.run([sys.executable, MAKER, folder], check=True)
    return str(folder)


@pytest.fixture(scope="module", params=[VllmEngine, AsyncVllmEngine])
def engine(request, model):
    return request.param(model, OPTIONS)


def asks(model, text, tokens=24, **more):
    return ChatRequest(
        model, (Message("user", text),), sampling=Sampling(max_tokens=tokens, seed=3, logprobs=1), **more
    )


def test_threads_get_replies_with_usage_and_logprobs(engine, model):
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda n: engine.attempt(asks(model, f"Say {n}."), "key"), range(48)))

    assert all(0 < reply.usage.output_tokens <= 24 and reply.usage.input_tokens > 0 for reply in replies)
    assert all(len(reply.logprobs) == reply.usage.output_tokens for reply in replies)


def test_a_schema_is_enforced(engine, model):
    told = asks(model, "Name a colour.", tokens=200, schema=ReplySchema("colour", COLOUR))

    reply = engine.attempt(told, "key")

    # Random weights may spend their tokens on white space between two marks, never on anything else.
    assert reply.finish_reason == "length" or json.loads(reply.text) == {"colour": "green"}
    assert reply.text.lstrip().startswith("{")


def test_tools_reach_the_prompt(engine, model):
    bare = engine.attempt(asks(model, "Look at it."), "key").usage.input_tokens
    shown = engine.attempt(asks(model, "Look at it.", tools=(LOOK,)), "key").usage.input_tokens

    assert shown > bare


def test_the_probe_sees_logprobs_and_usage(engine, model):
    spec = ModelSpec("m1", "here", model, Sampling(max_tokens=64))

    found = {finding.capability: finding.ok for finding in probe(engine, spec)}

    assert found[Capability.CHAT]
    assert found[Capability.USAGE]
    assert found[Capability.LOGPROBS]
