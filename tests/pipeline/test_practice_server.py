"""The practice endpoint over real connections: the protocol, every fault on demand, and what it bills."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from datagen.practice.canned import CannedMind
from datagen.practice.knobs import CONTENT_FAULTS, Fault, Knobs, Latency
from datagen.practice.server import running
from datagen.practice.wire import WireReply, WireRequest

pytestmark = pytest.mark.pipeline

QUESTION = [{"role": "user", "content": "Who lit the lamp of Hill End?"}]
CLAIMS = {
    "type": "object",
    "required": ["claims"],
    "properties": {"claims": {"type": "array", "items": {"type": "object"}}},
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "claims", "schema": CLAIMS, "strict": True}}
SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "parameters": {
            "type": "object",
            "required": ["query"],
            "properties": {"query": {"type": "string"}},
        },
    },
}
JSON_TEXT = '{"claims":[{"subject":"Hill End","quote":"The lamp was lit by Ada."}]}'


class Thinker:
    """A mind that is no program of ours: echoes, calls a tool, fails, or takes its time, as the message says."""

    def answer(self, request: WireRequest) -> WireReply:
        text = request.messages[-1].content
        if text == "unknown":
            raise LookupError("nobody here answers requests of this kind")
        if text == "broken":
            raise KeyError("lost")
        if text == "slow":
            time.sleep(0.3)
        if request.tool_names:
            return WireReply(tool_calls=(("search", {"query": text}), ("search", {"query": "again"})))
        return WireReply(f"{request.schema_name}: {text}")


def client(server, key="none") -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key=key, max_retries=0, timeout=20)


def chat(server, *, key=None, **more):
    headers = {"Idempotency-Key": key} if key else {}
    return client(server).chat.completions.create(
        **{"model": "practice", "messages": QUESTION, "extra_headers": headers} | more
    )


def post(server, *, key=None, headers=None, **more) -> httpx.Response:
    sent = dict(headers or {}) | ({"Idempotency-Key": key} if key else {})
    body = {"model": "practice", "messages": QUESTION} | more
    # Loading certificates takes longer than everything else here, and there are none.
    return httpx.post(f"{server.url}/chat/completions", json=body, headers=sent, timeout=20, verify=False)


def get(server, path) -> httpx.Response:
    return httpx.get(server.url.removesuffix("/v1") + path, timeout=20)


# --- the protocol ---


def test_a_reply_has_text_usage_and_the_name_of_the_model():
    with running(CannedMind("one two three")) as server:
        reply = chat(server, model="practice-m2")

        assert reply.choices[0].message.content == "one two three"
        assert (reply.choices[0].finish_reason, reply.model) == ("stop", "practice-m2")
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (8, 3)
        assert server.ledger()["models"]["practice-m2"] == {"replies": 1, "input_tokens": 8, "output_tokens": 3}


def test_a_stream_carries_the_same_reply_and_usage_at_its_end():
    with running(CannedMind("one two three, four.")) as server:
        whole = chat(server)
        chunks = list(chat(server, stream=True, stream_options={"include_usage": True}))
        bare = list(chat(server, stream=True))

    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert all(c.usage is None for c in bare)
    assert len(chunks) > 4


def test_tool_calls_come_whole_and_in_deltas():
    with running(Thinker()) as server:
        whole = chat(server, tools=[SEARCH], tool_choice="required").choices[0]
        deltas = [c.choices[0] for c in chat(server, tools=[SEARCH], tool_choice="required", stream=True)]

    calls = whole.message.tool_calls
    assert [json.loads(call.function.arguments)["query"] for call in calls] == [QUESTION[0]["content"], "again"]
    assert len({call.id for call in calls}) == 2
    assert (whole.finish_reason, whole.message.content) == ("tool_calls", None)
    pieces = [piece for choice in deltas for piece in choice.delta.tool_calls or ()]
    for index, call in enumerate(calls):
        own = [piece for piece in pieces if piece.index == index]
        assert (own[0].id, own[0].function.name) == (call.id, "search")
        assert "".join(piece.function.arguments for piece in own) == call.function.arguments
    assert len(pieces) > 4


def test_a_json_schema_names_the_kind_of_reply():
    with running(Thinker()) as server:
        reply = chat(server, response_format=FORMAT)

    assert reply.choices[0].message.content.startswith("claims: ")


def test_log_probabilities_come_on_request_and_are_the_same_each_time():
    with running(CannedMind("one two")) as server:
        first = chat(server, logprobs=True, top_logprobs=3).choices[0].logprobs
        again = chat(server, logprobs=True, top_logprobs=3).choices[0].logprobs
        none = chat(server).choices[0].logprobs

    assert first == again
    assert [entry.token for entry in first.content] == ["one", " two"]
    assert all(len(entry.top_logprobs) == 3 for entry in first.content)
    assert none is None


def test_models_health_and_ledger_are_told():
    with running(CannedMind(), models=("a", "b")) as server:
        chat(server)

        assert [model.id for model in client(server).models.list()] == ["a", "b"]
        assert get(server, "/health").json() == {"status": "ok"}
        assert get(server, "/ledger").json() == server.ledger()
        assert len(get(server, "/ledger?entries=1").json()["entries"]) == 1


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405)])  # fmt: skip
def test_what_is_not_there_is_said_in_the_form_of_the_protocol(method, path, status):
    with running(CannedMind()) as server:
        answer = httpx.request(method, server.url.removesuffix("/v1") + path)

    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_request_that_is_none_is_refused_with_a_sentence():
    with running(CannedMind()) as server, pytest.raises(openai.BadRequestError, match="has to be 1"):
        chat(server, n=2)


def test_a_kind_of_request_that_the_mind_does_not_know_is_a_bad_request_and_a_fault_of_the_mind_is_not():
    with running(Thinker()) as server:
        with pytest.raises(openai.BadRequestError, match="nobody here"):
            chat(server, messages=[{"role": "user", "content": "unknown"}], response_format=FORMAT)
        with pytest.raises(openai.InternalServerError, match="KeyError"):
            chat(server, messages=[{"role": "user", "content": "broken"}])

        assert server.ledger()["totals"]["replies"] == 0
        assert server.ledger()["aborted"] == {"unknown-kind": 1, "mind-failed": 1}


def test_an_endpoint_with_a_mind_of_programs_still_answers_those_who_ask_what_it_can_do():
    unknown = [{"role": "user", "content": "unknown"}]
    schema = {"type": "json_schema", "json_schema": {"name": "probe", "schema": CLAIMS}}
    tool = {"type": "function", "function": {"name": "probe_tool", "parameters": {"type": "object"}}}
    with running(Thinker()) as server:
        plain = chat(server, messages=unknown).choices[0].message
        filled = chat(server, messages=unknown, response_format=schema).choices[0].message
        called = chat(server, messages=unknown, tools=[tool], tool_choice="required").choices[0].message

    assert plain.content
    assert json.loads(filled.content) == {"claims": []}
    assert called.tool_calls[0].function.name == "probe_tool"


def test_a_key_has_to_be_shown_where_one_is_required(monkeypatch):
    monkeypatch.setenv("PRACTICE_KEY", "sesame")
    with running(CannedMind("hi"), require_key="PRACTICE_KEY") as server:
        with pytest.raises(openai.AuthenticationError):
            client(server, "wrong").models.list()
        with pytest.raises(openai.AuthenticationError):
            chat(server)
        known = client(server, "sesame").chat.completions.create(model="practice", messages=QUESTION)

        assert known.choices[0].message.content == "hi"
        assert server.ledger()["totals"]["replies"] == 1


def test_a_connection_is_kept_and_requests_sent_ahead_wait_their_turn():
    body = json.dumps({"model": "practice", "messages": QUESTION}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with running(CannedMind("hello"), knobs=Knobs(Latency("fixed", 0.05))) as server:
        with socket.create_connection((server.host, server.port), timeout=20) as sock:
            sock.sendall((head + body) * 3)
            received = b""
            while received.count(b'"total_tokens"') < 3:
                received += sock.recv(65536)

        assert server.ledger()["totals"]["replies"] == 3


def test_many_callers_are_served_at_once():
    mind = Thinker()
    with running(mind, knobs=Knobs(Latency("uniform", 0.0, 0.2))) as server:
        with ThreadPoolExecutor(32) as pool:
            said = pool.map(lambda n: post(server, messages=[{"role": "user", "content": f"n{n}"}]), range(200))
            texts = [reply.json()["choices"][0]["message"]["content"] for reply in said]

        assert texts == [f"None: n{n}" for n in range(200)]
        assert server.ledger()["totals"]["replies"] == 200


# --- faults of transport ---


def only(fault, share=1.0, **more):
    return Knobs.each(share, fault, **more)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "wait"), [(Fault.THROTTLE_WAIT, "0.25"), (Fault.THROTTLE, None)])
def test_a_throttled_request_may_be_told_how_long_to_wait(fault, wait, stream):
    with running(CannedMind(), knobs=only(fault, retry_after=0.25)) as server:
        answer = post(server, stream=stream)

        assert (answer.status_code, answer.headers.get("retry-after")) == (429, wait)
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        assert server.ledger()["aborted"] == {str(fault): 1}


def test_a_server_fails_in_more_than_one_way():
    with running(CannedMind(), knobs=only(Fault.SERVER_ERROR)) as server:
        statuses = {post(server, seed=number).status_code for number in range(24)}

        assert statuses == {500, 502, 503}
        assert server.ledger()["totals"]["replies"] == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_reset_tears_the_connection_before_or_in_the_middle_of_a_reply(stream):
    with running(CannedMind("word " * 300), knobs=only(Fault.RESET)) as server:
        errors = []
        for number in range(24):
            try:
                post(server, seed=number, stream=stream)
            except httpx.TransportError as exc:
                errors.append(type(exc))

        assert len(errors) == 24
        assert server.ledger()["aborted"] == {"reset": 24}
        assert server.ledger()["totals"]["replies"] == 0


def test_a_truncated_reply_lacks_bytes_or_is_framed_whole_and_is_no_json():
    with running(CannedMind("word " * 300), knobs=only(Fault.TRUNCATED)) as server:
        kinds = set()
        for number in range(24):
            try:
                kinds.add(_parses(post(server, seed=number).text))
            except httpx.RemoteProtocolError:
                kinds.add("cut")

        assert kinds == {"cut", False}
        assert server.ledger()["totals"]["replies"] == 0
        assert server.ledger()["aborted"] == {"truncated": 24}


def test_a_truncated_stream_never_finishes_however_it_is_framed():
    with running(CannedMind("word " * 300), knobs=only(Fault.TRUNCATED)) as server:
        kinds = set()
        for number in range(24):
            try:
                text = post(server, seed=number, stream=True).text
                assert "[DONE]" not in text
                assert '"finish_reason":"stop"' not in text
                kinds.add("unfinished")
            except httpx.RemoteProtocolError:
                kinds.add("cut")

        assert kinds == {"cut", "unfinished"}
        assert server.ledger()["totals"]["replies"] == 0


def test_a_retry_may_fare_better_and_the_connection_lives_on_after_an_error():
    with running(CannedMind("hello"), knobs=only(Fault.SERVER_ERROR, 0.5)) as server, httpx.Client() as kept:
        body = {"model": "practice", "messages": QUESTION}
        statuses = [kept.post(f"{server.url}/chat/completions", json=body).status_code for _ in range(30)]

        assert statuses.count(200) == server.ledger()["totals"]["replies"]
        assert 5 < statuses.count(200) < 25


def test_requests_beyond_the_limit_are_turned_away_and_the_others_are_not():
    knobs = Knobs(Latency("fixed", 1.0), at_once=4)
    with running(CannedMind(), knobs=knobs) as server:
        with ThreadPoolExecutor(12) as pool:
            statuses = list(pool.map(lambda n: post(server, seed=n).status_code, range(12)))

        assert statuses.count(200) == server.ledger()["totals"]["replies"] >= 4
        assert statuses.count(429) == server.ledger()["turned_away"] == 12 - statuses.count(200) > 0
        assert post(server).status_code == 200


# --- faults of content ---


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", CONTENT_FAULTS)
def test_a_fault_of_content_is_a_whole_reply_and_is_billed(fault, stream):
    with running(CannedMind(JSON_TEXT), knobs=only(fault)) as server:
        answer = post(server, response_format=FORMAT, stream=stream)
        text, refusal = _said(answer, stream)
        ledger = server.ledger(entries=True)

    assert answer.status_code == 200
    assert [entry["fault"] for entry in ledger["entries"]] == [str(fault)]
    assert ledger["faults"] == {str(fault): 1}
    assert ledger["totals"]["output_tokens"] > 0
    if fault is Fault.REFUSAL:
        assert refusal
        assert not text
    elif fault is Fault.MALFORMED_JSON:
        assert not _parses(text)
    elif fault is Fault.WRONG_SCHEMA:
        assert not (isinstance(json.loads(text), dict) and "claims" in json.loads(text))
    else:
        [claim] = json.loads(text)["claims"]
        assert claim["subject"] == "Hill End"
        assert claim["quote"] not in JSON_TEXT


def test_replies_without_quotes_have_none_to_falsify():
    with running(CannedMind('{"answer": "Ada"}'), knobs=only(Fault.FALSE_QUOTES)) as server:
        assert post(server, response_format=FORMAT).json()["choices"][0]["message"]["content"] == '{"answer": "Ada"}'
        assert server.ledger(entries=True)["entries"][0]["fault"] is None


def test_the_same_requests_meet_the_same_faults_at_any_concurrency():
    knobs = Knobs.each(0.08, *Fault, seed=3)

    def run(threads):
        with running(CannedMind(JSON_TEXT), knobs=knobs) as server:
            with ThreadPoolExecutor(threads) as pool:
                told = list(pool.map(lambda n: _outcome(server, n), range(120)))
            return told, {k: v for k, v in server.ledger().items() if k in {"totals", "faults", "aborted"}}

    assert run(1) == run(16)


# --- what is billed ---


def test_a_key_that_was_answered_is_answered_again_and_billed_once():
    with running(CannedMind(JSON_TEXT), knobs=Knobs.each(0.5, Fault.REFUSAL, Fault.MALFORMED_JSON)) as server:
        first = [post(server, seed=n, key=f"k{n}").json() for n in range(10)]
        again = [post(server, seed=n, key=f"k{n}").json() for n in range(10)]
        streamed = post(server, seed=0, key="k0", stream=True)

        assert first == again
        assert _said(streamed, stream=True)[1] == first[0]["choices"][0]["message"]["refusal"]
        told = server.ledger()
        assert (told["totals"]["replies"], told["replayed"], told["requests"]) == (10, 11, 21)


def test_a_key_used_for_another_request_is_refused():
    with running(CannedMind()) as server:
        post(server, key="k")

        assert post(server, key="k", seed=2).status_code == 400


def test_two_requests_with_one_key_in_progress_at_once_are_billed_once():
    with running(CannedMind(), knobs=Knobs(Latency("fixed", 0.2))) as server:
        with ThreadPoolExecutor(6) as pool:
            said = list(pool.map(lambda _: post(server, key="k").json(), range(6)))

        assert all(reply == said[0] for reply in said)
        assert server.ledger()["totals"]["replies"] == 1
        assert server.ledger()["replayed"] == 5


def test_requests_without_a_key_are_billed_each_time():
    with running(CannedMind()) as server:
        post(server)
        post(server)

        assert server.ledger()["totals"]["replies"] == 2
        assert server.ledger()["answered_twice"] == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_is_not_billed(stream):
    with running(Thinker(), knobs=Knobs(Latency("fixed", 0.6))) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{server.url}/chat/completions",
                json={"model": "practice", "messages": [{"role": "user", "content": "slow"}], "stream": stream},
                timeout=httpx.Timeout(5, read=0.1),
            )
        _wait_for(lambda: server.ledger()["aborted"])

        assert server.ledger()["aborted"] == {"client-left": 1}
        assert server.ledger()["totals"]["replies"] == 0
        assert post(server).status_code == 200


def test_what_was_billed_outlives_the_server(tmp_path):
    path = tmp_path / "practice" / "ledger.jsonl"
    with running(CannedMind("first"), ledger_path=path) as server:
        first = post(server, key="k").json()
        post(server, seed=1, stream=True)
    with running(CannedMind("second"), ledger_path=path) as server:
        assert post(server, key="k").json() == first
        assert server.ledger()["totals"]["replies"] == 2
        assert server.ledger()["replayed"] == 1


# --- as a process of its own ---


def test_the_command_serves_and_keeps_every_reply_that_anyone_got_when_it_is_killed(tmp_path):
    path = tmp_path / "ledger.jsonl"
    command = [sys.executable, "-m", "datagen.cli", "practice-llm", "--canned", "hello", "--port", "0"]
    got: set[int] = set()
    with subprocess.Popen([*command, "--ledger", str(path)], stdout=subprocess.PIPE, text=True) as served:
        url = served.stdout.readline().strip()
        stop = threading.Event()

        def keep_asking(caller: int) -> None:
            with httpx.Client() as kept:
                for number in range(caller, 100_000, 4):
                    body = {"model": "practice", "messages": QUESTION, "seed": number}
                    try:
                        kept.post(f"{url}/chat/completions", json=body, headers={"Idempotency-Key": str(number)})
                    except httpx.TransportError:
                        return
                    got.add(number)
                    if len(got) > 200:
                        stop.set()

        callers = [threading.Thread(target=keep_asking, args=(caller,)) for caller in range(4)]
        for caller in callers:
            caller.start()
        stop.wait(30)
        os.kill(served.pid, signal.SIGKILL)
        for caller in callers:
            caller.join()
    booked = [json.loads(line)["key"] for line in path.read_bytes().splitlines()]

    assert len(got) > 200
    assert {str(number) for number in got} <= set(booked)
    assert len(booked) == len(set(booked))
    with running(CannedMind("another"), ledger_path=path) as server:
        key = str(min(got))
        assert post(server, key=key, seed=int(key)).json()["choices"][0]["message"]["content"] == "hello"


def test_the_command_says_where_it_is_and_ends_when_told_to():
    command = [
        sys.executable,
        "-m",
        "datagen.cli",
        "practice-llm",
        "--canned",
        "hi",
        "--port",
        "0",
        "--fault",
        "all=0.3",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as served:
        url = served.stdout.readline().strip()
        assert httpx.get(f"{url}/models").status_code == 200
        served.send_signal(signal.SIGTERM)
        _, said = served.communicate(timeout=20)

    assert served.returncode == 0
    assert f'base_url = "{url}"' in said
    assert "refusal 3.3%" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--fault", "gremlins=0.1"), "NAME=0.1"),
        (("--fault", "reset=2"), "between 0 and 1"),
        (("--latency", "soon"), "is no latency"),
        (("--require-key", "NO_SUCH_VARIABLE"), "holds no key"),
    ],
)
def test_knobs_that_make_no_sense_are_refused_with_a_sentence(datagen, arguments, sentence):
    code, _, said = datagen("practice-llm", "--canned", "hi", "--port", 0, *arguments)

    assert code == 2
    assert sentence in said


def _said(answer, stream):
    if not stream:
        message = answer.json()["choices"][0]["message"]
        return message["content"] or "", message["refusal"]
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    deltas = [choice["delta"] for line in lines[:-1] for choice in json.loads(line)["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    return text, "".join(delta.get("refusal") or "" for delta in deltas) or None


def _parses(text):
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _outcome(server, number):
    try:
        answer = post(server, seed=number, response_format=FORMAT, key=f"k{number}")
    except httpx.TransportError:
        return "lost"
    return answer.status_code, _parses(answer.text) and answer.json().get("choices")


def _wait_for(happened, seconds=20):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "this never happened"
        time.sleep(0.02)
