"""The engine over real sockets: what it sends, what it makes of every status, and servers that misbehave."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tests.unit.misbehaving_server import Drip, answering, cut_off, events, head, hung_up, reset, whole

from datagen.clients import timed_http
from datagen.clients.chat import ChatRequest, Message, ReplySchema, Sampling, Tool, ToolCall, Usage
from datagen.clients.openai_chat import OpenAIEngine, retry_after
from datagen.errors import (
    ConfigError,
    ConnectionLostError,
    CredentialsError,
    EndpointError,
    InvalidRequestError,
    OverloadedError,
    ThrottledError,
)

KEY = "sk-planted-0123456789"
REQUEST = ChatRequest("m", (Message("system", "Be brief."), Message("user", "Wer ist Zoë? 北京")))


def completion(**message):
    return {
        "model": "m-2",
        "choices": [{"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


HELLO = completion(content="hello")


def chunk(finish=None, usage=None, **delta):
    raw = {"model": "m-2", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return raw | ({"usage": usage} if usage else {})


def engine(server, **options):
    return OpenAIEngine([server.url], **({"api_key": KEY, "timeout_seconds": 20} | options))


def attempted(answer, request=REQUEST, **options):
    with answering(answer) as server:
        return engine(server, **options).attempt(request, "k")


def test_what_goes_out_is_the_body_of_the_request_with_the_key_and_the_idempotency_key():
    tool = Tool("search", "Looks up.", {"type": "object", "properties": {"query": {"type": "string"}}})
    asked = ChatRequest(
        "m",
        (
            Message("user", "Find it."),
            Message("assistant", "", (ToolCall("c1", "search", '{"query": "x"'),)),
            Message("tool", "[]", tool_call_id="c1"),
        ),
        tools=(tool,),
        schema=ReplySchema("answer", {"type": "object"}),
        sampling=Sampling(0.5, 0.9, 100, 4, 2, {"chat_template_kwargs": {"enable_thinking": False}}),
    )
    with answering(whole(HELLO)) as server:
        engine(server).attempt(asked, "key-of-the-reply")

    (heard,) = server.heard
    assert (heard.method, heard.path) == ("POST", "/v1/chat/completions")
    assert heard.json() == asked.body()
    assert heard.headers["idempotency-key"] == "key-of-the-reply"
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert heard.headers["content-type"] == "application/json"


def test_a_stream_asks_for_the_same_and_for_the_token_counts():
    with answering(events(chunk("stop", content="hello"))) as server:
        engine(server, stream=True).attempt(REQUEST, "k")

    assert server.heard[0].json() == REQUEST.body() | {"stream": True, "stream_options": {"include_usage": True}}


def test_a_reply_comes_back_with_all_that_was_said():
    reply = attempted(whole(HELLO))

    assert (reply.text, reply.finish_reason, reply.model) == ("hello", "stop", "m-2")
    assert reply.usage == Usage(7, 3)
    assert (reply.tool_calls, reply.refusal, reply.logprobs) == ((), None, None)


def test_calls_refusals_cached_tokens_and_logprobs_come_back():
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"query": '}}
    raw = completion(content=None, tool_calls=[call], refusal="No.")
    raw["usage"]["prompt_tokens_details"] = {"cached_tokens": 5}
    raw["choices"][0]["logprobs"] = {
        "content": [{"token": "a", "logprob": -0.1, "top_logprobs": [{"token": "b", "logprob": -3.0}]}]
    }

    reply = attempted(whole(raw))

    assert reply.tool_calls == (ToolCall("c1", "search", '{"query": '),)
    assert (reply.text, reply.refusal) == ("", "No.")
    assert reply.usage == Usage(7, 3, 5)
    assert reply.logprobs[0].top == (("b", -3.0),)


def test_arguments_sent_as_an_object_become_its_text():
    call = {"id": "c1", "function": {"name": "visit", "arguments": {"url": "u"}}}

    assert json.loads(attempted(whole(completion(tool_calls=[call]))).tool_calls[0].arguments) == {"url": "u"}


def test_tokens_that_the_server_did_not_count_stay_unknown():
    raw = {key: value for key, value in HELLO.items() if key != "usage"}

    assert attempted(whole(raw)).usage == Usage(None, None, None)
    assert attempted(whole(raw | {"usage": None})).usage == Usage(None, None, None)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InvalidRequestError),
        (401, CredentialsError),
        (403, CredentialsError),
        (404, InvalidRequestError),
        (408, OverloadedError),
        (409, OverloadedError),
        (413, InvalidRequestError),
        (422, InvalidRequestError),
        (429, ThrottledError),
        (500, OverloadedError),
        (502, OverloadedError),
        (503, OverloadedError),
        (504, OverloadedError),
        (529, OverloadedError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_status_alone_decides_the_error(status, error, stream):
    with pytest.raises(EndpointError) as raised:
        attempted(whole({"error": {"message": "rate limit, overloaded, invalid key"}}, status), stream=stream)

    assert type(raised.value) is error
    assert f"answered {status}" in str(raised.value)


def test_an_attempt_is_one_request():
    for status in (429, 500, 503):
        with answering(whole({}, status)) as server:
            with pytest.raises(EndpointError):
                engine(server).attempt(REQUEST, "k")

            assert len(server.heard) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_says_how_long_to_wait_throttles(status):
    with pytest.raises(ThrottledError) as raised:
        attempted(whole({}, status, retry_after="7"))

    assert raised.value.retry_after == 7


def test_every_form_of_retry_after_is_read():
    later = format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)
    earlier = format_datetime(datetime.now(UTC) - timedelta(minutes=2), usegmt=True)

    assert retry_after({"retry-after": "3"}) == 3
    assert retry_after({"retry-after": "0.5"}) == 0.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert 60 < retry_after({"retry-after": later}) <= 120
    assert retry_after({"retry-after": earlier}) == 0
    for nonsense in ("soon", "", "-1e", "1e999", "²", "Mon, 99 Foo"):
        assert retry_after({"retry-after": nonsense}) is None
    for nonsense in ("inf", "nan", "x"):
        assert retry_after({"retry-after-ms": nonsense}) is None
    assert retry_after({}) is None


def test_a_date_without_a_zone_is_in_universal_time():
    naive = (datetime.now(UTC) + timedelta(minutes=2)).strftime("%a, %d %b %Y %H:%M:%S -0000")

    assert 60 < retry_after({"retry-after": naive}) <= 120


def test_a_redirect_is_not_followed():
    with answering(whole(HELLO)) as elsewhere, pytest.raises(InvalidRequestError):
        attempted(whole({}, 307, location=f"{elsewhere.url}/chat/completions"))

    assert elsewhere.heard == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        reset,
        hung_up,
        cut_off(json.dumps(HELLO).encode(), 5_000),
        cut_off(b"", 10),
        whole(json.dumps(HELLO).encode()[:-20]),
        whole(b"<html><body>Bad gateway</body></html>"),
        whole(b""),
        whole([]),
        whole({"error": {"message": "no"}}),
        whole({"choices": []}),
        whole({"choices": [None]}),
        whole({"choices": [{"message": {"content": [{"type": "text", "text": "x"}]}}]}),
        whole(b"\x1f\x8b not gzip", content_encoding="gzip"),
        lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ],
    ids=lambda answer: getattr(answer, "__name__", None),
)
def test_whatever_is_no_whole_reply_is_a_lost_connection_and_may_be_tried_again(answer, stream):
    with pytest.raises(ConnectionLostError) as raised:
        attempted(answer, stream=stream)

    assert raised.value.retryable


def test_a_server_that_is_not_there_is_a_lost_connection():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it meanwhile
        with pytest.raises(ConnectionLostError, match="refused"):
            OpenAIEngine([f"http://127.0.0.1:{taken.getsockname()[1]}/v1"]).attempt(REQUEST, "k")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "drip",
    [
        lambda: Drip(b"HTTP/1.1 200 OK\r\n", b"x-more: 1\r\n"),
        lambda: Drip(head(content_length="100000", content_type="application/json"), b" "),
        lambda: Drip(head(transfer_encoding="chunked", content_type="text/event-stream"), b"3\r\n:\n\n\r\n"),
        lambda: Drip(b"", b"", pause=30),
        lambda: Drip(head(content_length="100000"), b"", pause=30),
    ],
    ids=["head", "body", "events", "silence", "silent-body"],
)
def test_no_attempt_outlives_its_deadline_however_the_server_drips(drip, stream):
    dripping = drip()
    with answering(dripping) as server:
        with pytest.raises(ConnectionLostError, match="time"):
            engine(server, timeout_seconds=0.4, stream=stream).attempt(REQUEST, "k")
        dripping.ended.set()

    assert dripping.sent < dripping.pieces


def test_an_attempt_after_one_that_ran_out_of_time_has_all_its_time_again():
    slow = Drip(head(content_length="100000"), b" ")
    with answering(slow, whole(HELLO)) as server:
        one = engine(server, timeout_seconds=0.4)
        with pytest.raises(ConnectionLostError):
            one.attempt(REQUEST, "k")

        assert one.attempt(REQUEST, "k").text == "hello"
        assert len({heard.connection for heard in server.heard}) == 2


def test_a_reply_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(timed_http, "MOST_BYTES", 50_000)

    with pytest.raises(ConnectionLostError, match="longer than"):
        attempted(whole(completion(content="x" * 100_000)))


def test_a_stream_is_put_together():
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    pieces = [
        chunk(role="assistant", content=""),
        chunk(content="Zoë "),
        chunk(content="北京"),
        chunk(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "search", "arguments": ""}}]),
        chunk(tool_calls=[{"index": 1, "id": "c2", "function": {"name": "visit", "arguments": '{"u'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"query"'}}]),
        chunk(tool_calls=[{"index": 1, "function": {"arguments": '": 1}'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": ': "x"}'}}]),
        chunk("tool_calls"),
        {"model": "m-2", "choices": [], "usage": usage},
    ]

    reply = attempted(events(*pieces), stream=True)

    assert reply.text == "Zoë 北京"
    assert reply.tool_calls == (ToolCall("c1", "search", '{"query": "x"}'), ToolCall("c2", "visit", '{"u": 1}'))
    assert (reply.finish_reason, reply.usage, reply.model) == ("tool_calls", Usage(7, 3), "m-2")


def test_a_stream_carries_refusals_and_logprobs():
    first, second = chunk(refusal="I ", content=None), chunk("stop", refusal="won't")
    first["choices"][0]["logprobs"] = {"content": [{"token": "I", "logprob": -0.5, "top_logprobs": []}]}
    second["choices"][0]["logprobs"] = {"content": [{"token": " won't", "logprob": -1.5}]}

    reply = attempted(events(first, second), stream=True)

    assert reply.refusal == "I won't"
    assert [token.logprob for token in reply.logprobs] == [-0.5, -1.5]


def test_a_stream_that_closes_with_its_token_counts_needs_no_done():
    usage = {"prompt_tokens": 7, "completion_tokens": 3}

    assert attempted(events(chunk("stop", usage, content="hello"), done=False), stream=True).usage == Usage(7, 3)


@pytest.mark.parametrize(
    "answer",
    [
        events(chunk(content="hel"), done=False),
        events(chunk(content="hel")),
        events(chunk("stop", content="hello"), done=False),  # the token counts are still to come
        events(chunk(content="hel"), {"error": {"message": "worker died"}}),
        events(done=False),
        events(),
        events(["not a chunk"]),
    ],
    ids=["cut", "no-finish-reason", "no-counts", "error", "empty", "done-only", "nonsense"],
)
def test_a_stream_that_ends_before_its_reply_is_a_lost_connection(answer):
    with pytest.raises(ConnectionLostError, match="no whole chat completion"):
        attempted(answer, stream=True)


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_the_key_stands_in_no_message_even_if_the_server_repeats_it(status):
    def repeat(connection, heard):
        whole({"error": {"message": f"{'x' * 280} bad key {heard.headers['authorization']}"}}, status)(
            connection, heard
        )

    with pytest.raises(EndpointError) as raised:
        attempted(repeat)

    assert KEY[:8] not in "".join(map(str, (raised.value, raised.value.args, raised.value.__cause__)))
    assert raised.value.__suppress_context__


def test_the_key_stands_in_no_repr():
    one = OpenAIEngine(["http://localhost:1/v1"], api_key=KEY)

    assert KEY not in repr(one)
    assert KEY not in one.identity


def test_a_key_that_no_header_can_carry_is_refused_without_saying_it():
    for broken in (f"{KEY}\nX: 1", f"{KEY} x", f"{KEY}\u2011"):
        with pytest.raises(ConfigError) as raised:
            OpenAIEngine(["http://localhost:1/v1"], api_key=broken)

        assert KEY not in str(raised.value)


def test_a_line_break_after_the_key_is_no_part_of_it():
    with answering(whole(HELLO)) as server:
        engine(server, api_key=f"{KEY}\n").attempt(REQUEST, "k")

    assert server.heard[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_base_url_that_is_none_or_holds_a_password_is_refused():
    for url in ("localhost:8000/v1", "/v1", "ftp://host/v1", "", "http:///v1"):
        with pytest.raises(ConfigError, match="base URL"):
            OpenAIEngine([url])
    with pytest.raises(ConfigError) as raised:
        OpenAIEngine(["https://me:hush@host.example/v1"])

    assert "hush" not in str(raised.value)


def test_no_key_and_no_proxy_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with answering(whole(HELLO)) as server:
        assert engine(server, api_key=None).attempt(REQUEST, "k").text == "hello"

    assert KEY not in server.heard[0].headers["authorization"]


def test_a_thread_keeps_its_connection_and_shares_it_with_no_other():
    with answering(whole(HELLO)) as server:
        one = engine(server)
        threads = [
            threading.Thread(target=lambda: [one.attempt(REQUEST, "k") for _ in range(5)], name=str(n))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(server.heard) == 20
    assert len({heard.connection for heard in server.heard}) == 4


def test_replicas_are_called_as_they_are_preferred():
    with answering(whole(completion(content="a"))) as a, answering(whole(completion(content="b"))) as b:
        both = OpenAIEngine([a.url, b.url])

        assert [both.attempt(REQUEST, "k", prefer=n).text for n in range(4)] == ["a", "b", "a", "b"]
        assert both.identity == a.url
        assert OpenAIEngine([a.url, b.url], identity="fleet").identity == "fleet"
