"""What is made of a server's reply: everything that is not exactly a completion is an error with a sentence."""

from __future__ import annotations

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.clients.connecting import retry_after
from datagen.errors import (
    ConnectionLostError,
    CredentialsError,
    EngineError,
    InvalidRequestError,
    OverloadedError,
    ThrottledError,
)
from datagen.training.engines.base import Sampling
from datagen.training.engines.server_wire import (
    MissingModelError,
    Serving,
    completion_of,
    raise_for,
    read_json,
    request_body,
)

ASKED = Sampling(max_tokens=4, stop=(2,))


def reply(ids=(7, 2), logprobs=(-0.5, -1.0), reason="stop", **more):
    choice = {"token_ids": list(ids), "logprobs": {"token_logprobs": list(logprobs)}, "finish_reason": reason}
    return {"choices": [choice | more], "usage": {"prompt_tokens_details": {"cached_tokens": 3}}}


def test_a_whole_reply_is_a_completion():
    completion = completion_of(reply(), ASKED, 12)

    assert (completion.token_ids, completion.logprobs) == ((7, 2), (-0.5, -1.0))
    assert (completion.finish_reason, completion.version, completion.cached_tokens) == ("stop", 12, 3)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"choices": []}, "is no completion"),
        ([], "is no completion"),
        ({"choices": [None]}, "is no completion"),
        (reply(token_ids=None), "no token ids"),
        (reply(ids=("7", "2")), "no token ids"),
        (reply(ids=(True, 2)), "no token ids"),
        (reply(logprobs=(-0.5,)), "1 log-probabilities for 2 tokens"),
        (reply(logprobs=(-0.5, None)), "log-probabilities"),
        (reply(logprobs=(-0.5, float("nan"))), "log-probabilities"),
        ({"choices": [{"token_ids": [7], "finish_reason": "stop", "logprobs": None}]}, "0 log-probabilities"),
        (reply(reason="abort"), "finish_reason 'abort'"),
        (reply(ids=(), logprobs=()), "0 tokens where 1 to 4"),
        (reply(ids=(1, 1, 1, 1, 2), logprobs=(-1.0,) * 5), "5 tokens where 1 to 4"),
        (reply(ids=(7, 9)), "stopped at token 9"),
    ],
)
def test_a_reply_that_lacks_something_is_refused_and_says_what(wrong, told):
    with pytest.raises(EngineError, match=told):
        completion_of(wrong, ASKED, 0)


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=50), st.integers(0, 2**63 - 1), st.floats(0, 2))
def test_a_request_names_everything_that_could_change_the_distribution(prompt, seed, temperature):
    body = request_body(prompt, Sampling(9, temperature, 0.9, (2, 5), seed), Serving(3, "policy-v3", "v3"))

    assert (body["model"], body["prompt"], body["seed"], body["cache_salt"]) == ("policy-v3", prompt, seed, "v3")
    assert (body["temperature"], body["top_p"], body["stop_token_ids"]) == (temperature, 0.9, [2, 5])
    assert (body["top_k"], body["min_p"], body["repetition_penalty"], body["n"]) == (0, 0.0, 1.0, 1)
    assert body["return_token_ids"] is True
    assert body["ignore_eos"] is True
    assert body["logprobs"] == 0


def test_a_prompt_may_be_an_array():
    assert orjson.loads(orjson.dumps(request_body(np.array([5, 6]), ASKED, Serving(0, "base"))))["prompt"] == [5, 6]


@pytest.mark.parametrize(
    ("status", "text", "headers", "fault"),
    [
        (400, "no", {}, InvalidRequestError),
        (401, "who are you", {}, CredentialsError),
        (404, "The model `a` does not exist.", {}, MissingModelError),
        (404, "Not Found", {}, InvalidRequestError),
        (408, "", {}, ConnectionLostError),
        (429, "", {"retry-after": "3"}, ThrottledError),
        (500, "out of memory", {}, OverloadedError),
        (503, "", {"retry-after": "3"}, ThrottledError),
    ],
)
def test_a_status_is_a_fault_of_its_kind(status, text, headers, fault):
    with pytest.raises(fault) as told:
        raise_for(httpx.Response(status, text=text, headers=headers), "the server")

    assert type(told.value) is fault
    assert fault is not ThrottledError or told.value.retry_after == retry_after("3")
    assert fault is not OverloadedError or "out of memory" in str(told.value)


def test_a_body_that_was_cut_off_counts_as_a_lost_connection():
    with pytest.raises(ConnectionLostError, match="no JSON"):
        read_json(httpx.Response(200, text='{"choices": [{"tok'), "the server")
