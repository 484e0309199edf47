"""Parts of the practice endpoint that need no socket: who is struck by what, tokens, spoiled replies, the ledger's file."""

from __future__ import annotations

import math
from collections import Counter

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import ConfigError, StorageError
from datagen.practice.canned import CannedMind, sample_of
from datagen.practice.completions import BadRequest, Reply, as_said, completion, understand, within_limit
from datagen.practice.faults import Striker, content_strike, transport_strike
from datagen.practice.flaws import Said, spoil
from datagen.practice.knobs import CONTENT_FAULTS, TRANSPORT_FAULTS, Fault, Knobs, Latency
from datagen.practice.ledger import Booking, PracticeLedger
from datagen.practice.streaming import events
from datagen.practice.tokens import count_input, count_tokens, logprobs_of, tokens_of
from datagen.practice.wire import WireReply

ALL = Knobs(faults=dict.fromkeys(Fault, 0.08), seed=5)
CLAIMS = {
    "type": "object",
    "required": ["claims"],
    "properties": {"claims": {"type": "array", "items": {"type": "object"}}},
}


def body(**more):
    return {"model": "practice", "messages": [{"role": "user", "content": "Who lit the lamp?"}], **more}


def asked(**more):
    return understand(orjson.dumps(body(**more)))


def digests(count):
    return [f"{number:064x}" for number in range(count)]


# --- faults ---


@pytest.mark.parametrize("fault", TRANSPORT_FAULTS)
def test_a_transport_fault_strikes_its_share_of_requests(fault):
    struck = Counter(transport_strike(ALL, digest, 0).fault for digest in digests(20_000))

    assert struck[fault] / 20_000 == pytest.approx(0.08, abs=0.01)


@pytest.mark.parametrize("fault", CONTENT_FAULTS)
def test_a_content_fault_strikes_its_share_of_all_requests_though_it_meets_only_those_that_got_through(fault):
    through = [d for d in digests(20_000) if transport_strike(ALL, d, 0).fault is None]

    struck = Counter(content_strike(ALL, digest, 0)[0] for digest in through)

    assert struck[fault] / 20_000 == pytest.approx(0.08, abs=0.01)


def test_requests_meet_the_same_faults_in_any_order():
    forth, back = Striker(ALL), Striker(ALL)

    one = {digest: (forth.arriving(digest), forth.arriving(digest)) for digest in digests(200)}
    other = {digest: (back.arriving(digest), back.arriving(digest)) for digest in reversed(digests(200))}

    assert one == other
    assert any(first != again for first, again in one.values())


def test_what_a_model_says_does_not_depend_on_connections_that_broke_before():
    calm, stormy = Striker(ALL), Striker(ALL)
    for digest in digests(100):
        for _ in range(3):
            stormy.arriving(digest)

    assert [calm.answering(d) for d in digests(100)] == [stormy.answering(d) for d in digests(100)]


def test_a_reply_that_nobody_waited_for_is_drawn_again():
    striker = Striker(Knobs.each(0.5, Fault.REFUSAL))

    first = striker.answering("d")
    striker.unanswered("d")

    assert striker.answering("d") == first


def test_another_seed_strikes_others():
    one, other = Knobs.each(0.5, Fault.RESET, seed=1), Knobs.each(0.5, Fault.RESET, seed=2)

    assert [transport_strike(one, d, 0).fault for d in digests(50)] != [transport_strike(other, d, 0).fault for d in digests(50)]  # fmt: skip


@pytest.mark.parametrize("faults", [{Fault.RESET: 1.2}, {Fault.RESET: -0.1}, {Fault.RESET: 0.6, Fault.REFUSAL: 0.6}])
def test_shares_that_are_no_shares_are_refused(faults):
    with pytest.raises(ConfigError):
        Knobs(faults=faults)


@pytest.mark.parametrize(
    ("text", "latency"),
    [
        ("0.5", Latency("fixed", 0.5)),
        ("uniform:0.2,1.5", Latency("uniform", 0.2, 1.5)),
        ("lognormal:1,0.5", Latency("lognormal", 1.0, 0.5)),
    ],
)
def test_latencies_are_read_from_text(text, latency):
    assert Latency.parse(text) == latency


@pytest.mark.parametrize("text", ["", "soon", "uniform:1", "uniform:2,1", "lognormal:-1,0", "1,2", "nan"])
def test_what_is_no_latency_is_refused_with_a_sentence(text):
    with pytest.raises(ConfigError, match="write"):
        Latency.parse(text)


def test_latencies_follow_their_distributions():
    draws = [(number + 0.5) / 1000 for number in range(1000)]
    lognormal = sorted(Latency("lognormal", 2.0, 0.5).at(draw) for draw in draws)
    uniform = [Latency("uniform", 1.0, 3.0).at(draw) for draw in draws]

    assert (lognormal[499] + lognormal[500]) / 2 == pytest.approx(2.0, rel=0.01)
    assert lognormal[841] == pytest.approx(2.0 * math.exp(0.5), rel=0.01)
    assert (min(uniform), max(uniform)) == pytest.approx((1.0, 3.0), abs=0.01)
    assert Latency("fixed", 0.7).at(0.3) == 0.7


# --- tokens ---


@settings(deadline=None)
@given(st.text())
def test_tokens_joined_are_the_text_and_no_more_than_its_bytes(text):
    tokens = tokens_of(text)

    assert "".join(tokens) == text
    assert len(tokens) == count_tokens(text) <= len(text.encode())


def test_tokens_are_words_and_runs_of_signs():
    assert tokens_of('Hill End, 1994: "no".') == ["Hill", " End", ",", " 1994", ":", ' "', "no", '".']


def test_input_tokens_are_those_of_messages_calls_tools_and_schema():
    call = {"id": "a", "type": "function", "function": {"name": "search", "arguments": '{"query":"x y"}'}}
    request = asked(messages=[{"role": "user", "content": "one two"}, {"role": "assistant", "content": None, "tool_calls": [call]}])  # fmt: skip
    tools = [{"type": "function", "function": {"name": "search", "parameters": {}}}]

    plain = count_input(request.wire.messages, request.wire.body)

    assert plain == 2 + 1 + count_tokens('{"query":"x y"}')
    assert count_input(request.wire.messages, body(tools=tools)) == plain + count_tokens(orjson.dumps(tools).decode())


@settings(deadline=None)
@given(st.text(min_size=1, max_size=40), st.integers(0, 5))
def test_log_probabilities_belong_to_a_distribution(text, top):
    values = logprobs_of(text, top)

    assert "".join(value["token"] for value in values) == text
    for value in values:
        assert value["logprob"] <= 0
        assert sum(math.exp(entry["logprob"]) for entry in value["top_logprobs"]) <= 1.0001
        assert len(value["top_logprobs"]) == top
        assert not top or value["top_logprobs"][0]["logprob"] == value["logprob"]


def test_a_text_is_cut_at_the_limit_of_the_request():
    cut = within_limit(Said("one two three four"), {"max_tokens": 2})

    assert (cut.text, cut.finish_reason) == ("one two", "length")
    assert within_limit(Said("one two"), {"max_tokens": 2}).finish_reason == "stop"


# --- requests ---


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b'{"messages": [{"role": "user", "content": "x"}]}',
        b'{"model": "m", "messages": []}',
        b'{"model": "m", "messages": ["x"]}',
        b'{"model": "m", "messages": [{"role": "user", "content": 5}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 2}',
        b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [{}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "top_logprobs": "all"}',
    ],
)
def test_what_is_no_request_is_refused(raw):
    with pytest.raises(BadRequest):
        understand(raw)


def test_how_a_reply_is_delivered_and_the_order_of_fields_do_not_change_the_digest():
    turned = dict(reversed(list(body(seed=3).items())))

    assert asked(seed=3).digest == understand(orjson.dumps(turned)).digest
    assert asked(seed=3).digest == asked(seed=3, stream=True, stream_options={"include_usage": True}).digest
    assert asked(seed=3).digest != asked(seed=4).digest


def test_the_kind_of_reply_is_read_from_the_format_or_from_the_prompt():
    told = {"type": "json_schema", "json_schema": {"name": "claims", "schema": CLAIMS}}
    announced = [{"role": "system", "content": 'Answer.\n<reply_schema name="choice">\n{}\n</reply_schema>'}]

    assert asked(response_format=told).wire.schema_name == "claims"
    assert asked(messages=[*announced, *body()["messages"]]).wire.schema_name == "choice"
    assert asked().wire.schema_name is None


def test_content_in_parts_is_read_as_one_text():
    parts = [{"type": "text", "text": "Who lit "}, {"type": "text", "text": "the lamp?"}]

    assert asked(messages=[{"role": "user", "content": parts}]).wire.messages == asked().wire.messages


# --- flaws ---

TEXT = '{"claims":[{"subject":"a","quote":"The lamp was lit."}],"note":{"quotes":["x","y"]}}'
FORMAT = {"type": "json_schema", "json_schema": {"name": "claims", "schema": CLAIMS}}


@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_malformed_json_does_not_parse(variant):
    spoiled = spoil(Said(TEXT), Fault.MALFORMED_JSON, variant, asked().wire)

    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(spoiled.text)


@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_a_wrong_schema_parses_and_lacks_what_is_required(variant):
    spoiled = spoil(Said(TEXT), Fault.WRONG_SCHEMA, variant, asked(response_format=FORMAT).wire)

    value = orjson.loads(spoiled.text)

    assert isinstance(value, list) or "claims" not in value


@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_a_refusal_has_no_words_of_the_reply(variant):
    spoiled = spoil(Said(TEXT), Fault.REFUSAL, variant, asked().wire)

    assert (spoiled.text, spoiled.tool_calls) == ("", ())
    assert spoiled.refusal


@settings(deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_false_quotes_stand_in_no_message_and_leave_the_rest_alone(variant):
    request = asked()
    value = orjson.loads(spoil(Said(TEXT), Fault.FALSE_QUOTES, variant, request.wire).text)

    quotes = [value["claims"][0].pop("quote"), *value["note"]["quotes"]]

    assert len(set(quotes)) == 3
    assert not any(quote in message.content for quote in quotes for message in request.wire.messages)
    assert value["claims"] == [{"subject": "a"}]


def test_replies_that_a_fault_cannot_take_hold_of_stay_sound():
    assert spoil(Said("plain words"), Fault.MALFORMED_JSON, 0.5, asked().wire) is None
    assert spoil(Said('{"a": 1}'), Fault.FALSE_QUOTES, 0.5, asked().wire) is None


def test_faults_reach_the_arguments_of_tool_calls():
    said = Said("", (("c0", "visit", '{"url":"u","quote":"q"}'),), finish_reason="tool_calls")

    broken = spoil(said, Fault.MALFORMED_JSON, 0.5, asked().wire)
    false = spoil(said, Fault.FALSE_QUOTES, 0.5, asked().wire)

    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(broken.tool_calls[0][2])
    assert orjson.loads(false.tool_calls[0][2])["quote"] != "q"
    assert broken.tool_calls[0][:2] == false.tool_calls[0][:2] == ("c0", "visit")


# --- canned replies ---


def test_a_canned_mind_makes_up_what_fits_a_schema():
    schema = {
        "type": "object",
        "required": ["kind", "names", "inner", "count", "maybe"],
        "properties": {
            "kind": {"enum": ["a", "b"]},
            "names": {"type": "array", "minItems": 2, "items": {"type": "string", "minLength": 3}},
            "inner": {"$ref": "#/$defs/Inner"},
            "count": {"type": "integer", "minimum": 4},
            "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "optional": {"type": "string"},
        },
        "$defs": {"Inner": {"type": "object", "required": ["yes"], "properties": {"yes": {"type": "boolean"}}}},
    }

    assert sample_of(schema) == {
        "kind": "a",
        "names": ["practice", "practice"],
        "inner": {"yes": True},
        "count": 4,
        "maybe": 0,
    }


def test_a_canned_mind_calls_a_tool_only_if_it_has_to():
    tools = [{"type": "function", "function": {"name": n, "parameters": {"type": "object"}}} for n in ("one", "two")]
    mind = CannedMind("hello")

    assert mind.answer(asked(tools=tools).wire) == WireReply("hello")
    assert mind.answer(asked(tools=tools, tool_choice="required").wire).tool_calls == (("one", {}),)
    named = {"type": "function", "function": {"name": "two"}}
    assert mind.answer(asked(tools=tools, tool_choice=named).wire).tool_calls == (("two", {}),)


# --- ledger ---


def reply(text="hello", calls=()):
    return Reply(Said(text, calls), "practice", 3, 1, "chatcmpl-1", 17)


def booking(key, tokens=3):
    return Booking(key, f"digest of {key}", "practice", tokens, 1, None, 17.5)


def test_a_ledger_is_read_back_with_the_replies_in_it(tmp_path):
    said = reply("", (("c0", "visit", '{"url":"ü"}'),))
    ledger = PracticeLedger(tmp_path / "ledger.jsonl")
    ledger.book(booking("a"), said, idempotent=True)
    ledger.book(booking("b", 5), reply(), idempotent=False)
    ledger.close()

    again = PracticeLedger(tmp_path / "ledger.jsonl")

    assert again.find("a") == ("digest of a", said)
    assert again.find("b") is None
    assert again.told()["totals"] == {"replies": 2, "input_tokens": 8, "output_tokens": 2}
    again.book(booking("c"), reply("third"), idempotent=True)
    assert again.find("c") == ("digest of c", reply("third"))


def test_a_line_torn_by_the_death_of_the_server_is_dropped(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger = PracticeLedger(path)
    ledger.book(booking("a"), reply(), idempotent=True)
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])

    again = PracticeLedger(path)
    again.book(booking("b"), reply("second"), idempotent=True)

    assert path.read_bytes().startswith(whole)
    assert again.find("b") == ("digest of b", reply("second"))
    assert again.told()["totals"]["replies"] == 2


def test_a_key_booked_twice_is_counted(tmp_path):
    ledger = PracticeLedger()
    for _ in range(3):
        ledger.book(booking("a"), reply(), idempotent=False)

    assert ledger.told()["answered_twice"] == 2


def test_a_ledger_has_one_writer_at_a_time(tmp_path):
    first = PracticeLedger(tmp_path / "ledger.jsonl")

    with pytest.raises(StorageError, match="in use"):
        PracticeLedger(tmp_path / "ledger.jsonl")

    first.close()
    PracticeLedger(tmp_path / "ledger.jsonl").close()


@pytest.mark.parametrize("text", ["dear diary\n", "dear diary", "{}\n", '{"key":1}\n'])
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)

    with pytest.raises(StorageError, match="Line 1"):
        PracticeLedger(path)

    assert path.read_text() == text


# --- the two forms of a reply ---


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_stream_says_what_the_whole_reply_says(text):
    request = asked(logprobs=True, top_logprobs=1)
    said = as_said(WireReply(text), request.digest)
    whole = orjson.loads(completion(Reply(said, "practice", 3, 1, "c", 17), request.wire.body))
    streamed = events(Reply(said, "practice", 3, 1, "c", 17), request.wire.body, include_usage=True)
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in streamed]

    choices = [choice for chunk in chunks for choice in chunk["choices"]]

    assert (
        "".join(choice["delta"].get("content", "") for choice in choices) == whole["choices"][0]["message"]["content"]
    )
    values = [value for choice in choices if choice["logprobs"] for value in choice["logprobs"]["content"]]
    assert values == whole["choices"][0]["logprobs"]["content"]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
    assert chunks[-1]["usage"] == whole["usage"]
