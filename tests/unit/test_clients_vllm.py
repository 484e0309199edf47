"""vLLM in this process, against a stand-in of the surface that is taken from it: what is gathered, sent and read back.

The stand-in keeps to vLLM's documented shapes: `LLM.chat` takes lists and one set of tools, fails as a whole, and returns
outputs in order; `AsyncLLM.generate` yields them; logprobs are a mapping per position that holds the chosen token too.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from datagen.clients.chat import ChatRequest, Message, ReplySchema, Sampling, Tool, ToolCall
from datagen.clients.vllm_chat import AsyncVllmEngine, VllmEngine, identity_of
from datagen.errors import ConfigError, InvalidRequestError, OverloadedError

SEARCH = Tool("search", "Finds pages.", {"type": "object", "properties": {"query": {"type": "string"}}})


def asks(text, **more):
    return ChatRequest("tiny", (Message("user", text),), **more)


@dataclass
class Stand:
    """What vLLM would be; `say(text) -> reply text` thinks for the model."""

    say: object = staticmethod(lambda text: f"<{text}>")
    defaults: dict = field(default_factory=dict)
    batches: list = field(default_factory=list)
    threads: Counter = field(default_factory=Counter)
    sampled: list = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    loads: int = 0
    load_fault: Exception | None = None

    def __post_init__(self):
        self.free.set()
        self.model_config = SimpleNamespace(get_diff_sampling_param=lambda: self.defaults)
        self.renderer = self

    # what is taken from vLLM
    def load(self, model, options):
        self.loads += 1
        if self.load_fault:
            raise self.load_fault
        return self

    load_async = load

    def sampling(self, arguments, schema, *, final_only):
        params = dict(arguments, schema=schema, final_only=final_only)
        self.sampled.append(params)
        return params

    def chat_params(self, options):
        return options

    # a `vllm.LLM`
    def chat(self, *, messages, sampling_params, tools, chat_template_kwargs, use_tqdm):
        self.threads[threading.get_ident()] += 1
        self.free.wait()
        self.batches.append(([turns[-1]["content"] for turns in messages], tools, chat_template_kwargs))
        assert len(messages) == len(sampling_params)
        assert use_tqdm is False
        return [
            self.finished(turns, str(i), params)
            for i, (turns, params) in enumerate(zip(messages, sampling_params, strict=True))
        ]

    # a `vllm.v1.engine.async_llm.AsyncLLM`
    async def render_chat_async(self, conversations, params):
        self.batches.append(([turns[-1]["content"] for turns in conversations], params))
        return conversations, list(conversations)

    async def generate(self, prompt, params, request_id):
        await asyncio.sleep(0)
        yield self.finished(prompt, request_id, params)

    def finished(self, turns, request_id, params):
        said = self.say(turns[-1]["content"])
        if isinstance(said, Exception):
            raise said
        logprobs = None
        if params.get("logprobs") is not None:
            likely, chosen = SimpleNamespace(logprob=-0.1, rank=1, decoded_token="the"), SimpleNamespace(
                logprob=-3.0, rank=7, decoded_token="an"
            )  # fmt: skip
            logprobs = [{11: likely, 12: chosen}, {11: likely}]
        out = SimpleNamespace(text=said, token_ids=[12, 11], logprobs=logprobs, finish_reason="stop")
        return SimpleNamespace(request_id=request_id, prompt_token_ids=[1, 2, 3], num_cached_tokens=1, outputs=[out])


ENGINES = pytest.mark.parametrize("kind", [VllmEngine, AsyncVllmEngine])


@ENGINES
def test_calls_from_many_threads_each_get_their_own_reply(kind):
    stand = Stand()
    engine = kind("tiny", {}, surface=stand)

    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda n: engine.attempt(asks(f"q{n}"), "key").text, range(200)))

    assert replies == [f"<q{n}>" for n in range(200)]
    assert stand.loads == 1


def test_calls_that_wait_while_a_batch_runs_go_together_in_the_next():
    stand = Stand()
    stand.free.clear()
    engine = VllmEngine("tiny", {}, surface=stand)

    with ThreadPoolExecutor(40) as pool:
        first = pool.submit(engine.attempt, asks("first"), "key")
        while not stand.threads:
            pass
        others = [pool.submit(engine.attempt, asks(f"q{n}"), "key") for n in range(30)]
        while engine._calls.qsize() < 30:
            pass
        stand.free.set()
        assert first.result().text == "<first>"
        assert {each.result().text for each in others} == {f"<q{n}>" for n in range(30)}

    assert [len(batch[0]) for batch in stand.batches] == [1, 30]
    assert len(stand.threads) == 1, "one thread touches the model"


def test_a_batch_holds_one_set_of_tools_and_template_options():
    stand = Stand()
    stand.free.clear()
    engine = VllmEngine("tiny", {}, surface=stand)
    plain = Sampling(extra={"chat_template_kwargs": {"enable_thinking": False}})
    wanted = [asks("a"), asks("b", tools=(SEARCH,)), asks("c", sampling=plain), asks("d"), asks("e", tools=(SEARCH,))]

    with ThreadPoolExecutor(8) as pool:
        held = pool.submit(engine.attempt, asks("first"), "key")
        while not stand.threads:
            pass
        made = [pool.submit(engine.attempt, request, "key") for request in wanted]
        while engine._calls.qsize() < len(wanted):
            pass
        stand.free.set()
        assert [each.result().text for each in (held, *made)] == ["<first>", "<a>", "<b>", "<c>", "<d>", "<e>"]

    told = [(set(texts), bool(tools), options) for texts, tools, options in stand.batches[1:]]
    assert sorted(told, key=str) == sorted(
        [({"a", "d"}, False, None), ({"b", "e"}, True, None), ({"c"}, False, {"enable_thinking": False})], key=str
    )


@ENGINES
def test_a_request_that_cannot_be_answered_fails_alone(kind):
    stand = Stand(say=lambda text: ValueError("too long") if text == "bad" else text)
    engine = kind("tiny", {}, surface=stand)

    with ThreadPoolExecutor(16) as pool:
        made = {text: pool.submit(engine.attempt, asks(text), "key") for text in ("a", "b", "bad", "c", "d")}

    assert [made[text].result().text for text in "abcd"] == list("abcd")
    with pytest.raises(InvalidRequestError, match="too long"):
        made["bad"].result()


@ENGINES
def test_a_fault_of_the_engine_may_be_tried_again(kind):
    engine = kind("tiny", {}, surface=Stand(say=lambda _: RuntimeError("out of memory")))

    with pytest.raises(OverloadedError, match="out of memory"):
        engine.attempt(asks("a"), "key")


def test_a_batch_that_comes_back_short_or_cannot_be_sorted_fails_its_calls_and_no_later_one():
    stand = Stand()
    engine = VllmEngine("tiny", {}, surface=stand)
    whole = stand.chat
    stand.chat = lambda **batch: whole(**batch)[:-1]

    with pytest.raises(OverloadedError, match="0 outputs came for 1"):
        engine.attempt(asks("q"), "key")
    with pytest.raises(InvalidRequestError):
        engine.attempt(asks("q", sampling=Sampling(extra={"chat_template_kwargs": {"x": object()}})), "key")

    stand.chat = whole
    assert engine.attempt(asks("q"), "key").text == "<q>"


@ENGINES
def test_a_model_that_cannot_be_loaded_ends_the_run_with_a_sentence(kind):
    engine = kind("tiny", {}, surface=Stand(load_fault=RuntimeError("no GPU")))

    for _ in range(2):
        with pytest.raises(ConfigError, match=r"could not load tiny.*no GPU"):
            engine.attempt(asks("a"), "key")


@ENGINES
def test_what_is_asked_for_reaches_the_sampler_over_the_models_own_defaults(kind):
    stand = Stand(defaults={"temperature": 0.6, "top_k": 20})
    schema = ReplySchema("word", {"type": "object"})
    drawn = Sampling(
        temperature=0.9, seed=5, logprobs=1, extra={"min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}}
    )

    reply = kind("tiny", {}, surface=stand).attempt(asks("a", schema=schema, sampling=drawn), "key")

    (told,) = stand.sampled
    assert told == {
        "temperature": 0.9, "top_k": 20, "seed": 5, "logprobs": 1, "min_p": 0.1, "max_tokens": None,
        "schema": {"type": "object"}, "final_only": kind is AsyncVllmEngine,
    }  # fmt: skip
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_input_tokens) == (3, 2, 1)
    first, second = reply.logprobs
    assert (first.token, first.logprob, first.top) == ("an", -3.0, (("the", -0.1),))
    assert (second.token, second.top) == ("the", (("the", -0.1),))


@ENGINES
def test_tool_calls_are_read_from_what_hermes_models_write(kind):
    written = (
        "I look it up.\n<tool_call>\n"
        '{"name": "search", "arguments": {"query": "Hill End"}}\n</tool_call>\n'
        '<tool_call>{"name": "search", "arguments": {"query": "Low Park"}}'
    )
    engine = kind("tiny", {}, surface=Stand(say=lambda _: written))

    reply = engine.attempt(asks("a", tools=(SEARCH,)), "key")

    assert reply.text == "I look it up."
    assert [(call.name, json.loads(call.arguments)) for call in reply.tool_calls] == [
        ("search", {"query": "Hill End"}), ("search", {"query": "Low Park"}),
    ]  # fmt: skip
    assert len({call.id for call in reply.tool_calls}) == 2
    assert reply.finish_reason == "tool_calls"


@ENGINES
def test_a_broken_tool_call_comes_back_for_the_role_to_answer(kind):
    engine = kind("tiny", {}, surface=Stand(say=lambda _: "<tool_call>\n{search: Hill End}\n</tool_call><|im_end|>"))

    (call,) = engine.attempt(asks("a", tools=(SEARCH,)), "key").tool_calls

    assert (call.name, call.arguments) == ("", "{search: Hill End}")


def test_broken_arguments_in_a_conversation_are_shown_to_the_model_as_text():
    from datagen.clients.vllm_wire import conversation

    turns = (
        Message("user", "a"),
        Message("assistant", "", (ToolCall("1", "search", "{broken"), ToolCall("2", "search", '{"query": "x"}'))),
        Message("tool", "{}", tool_call_id="1"),
    )

    shown = [call["function"]["arguments"] for call in conversation(ChatRequest("tiny", turns))[1]["tool_calls"]]

    assert [json.loads(text) for text in shown] == [{"text": "{broken"}, {"query": "x"}]


@ENGINES
def test_a_forced_tool_call_is_refused_rather_than_forgotten(kind):
    engine = kind("tiny", {}, surface=Stand())

    with pytest.raises(InvalidRequestError, match="cannot force a tool call"):
        engine.attempt(asks("a", tools=(SEARCH,), tool_choice="required"), "key")


@ENGINES
def test_without_vllm_the_sentence_says_what_to_install(kind, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r'pip install "datagen\[vllm\]"'):
        kind("tiny", {})


def test_options_that_change_what_a_model_says_change_its_name_in_the_cache():
    assert identity_of("tiny", {}) == "vllm:tiny"
    assert identity_of("tiny", {"quantization": "fp8"}) != identity_of("tiny", {"quantization": "awq"})
