"""What models are asked before a role relies on them: every capability seen in a reply, and every lack told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from tests.unit.practice_league import CATALOGUE

from datagen.clients.capabilities import ATTEMPTS, NEEDS, WORD, Capability, probe, require
from datagen.clients.chat import ChatReply, ChatRequest, ModelSpec, Sampling, TokenLogprob, ToolCall, Usage
from datagen.clients.openai_chat import OpenAIEngine
from datagen.clients.retrying import Patience
from datagen.errors import ConnectionLostError, CredentialsError, InvalidRequestError, UnfitEndpointError
from datagen.practice.knobs import Fault, Knobs
from datagen.practice.minds import SymbolicMind
from datagen.practice.server import running

MODEL = ModelSpec("m1", "local", "practice")
AT_ONCE = Patience(0, 0, 0)
ALL = set(Capability)


def good(request: ChatRequest) -> ChatReply:
    """A model and a server that can do everything."""
    reply = ChatReply("amber", (), "stop", Usage(9, 1), "tiny")
    if request.tools:
        return replace(reply, text="", tool_calls=(ToolCall("1", "ping", '{"word": "amber"}'),))
    if request.schema or "<reply_schema" in request.messages[0].content:
        return replace(reply, text=json.dumps({"word": WORD}))
    if request.sampling.logprobs is not None:
        return replace(reply, logprobs=(TokenLogprob("amber", -0.1, (("amber", -0.1),)),))
    return reply


@dataclass
class Engine:
    """A `ChatEngine` that answers as it is told."""

    say: Callable[[ChatRequest], ChatReply] = good
    identity: str = "here"

    def __post_init__(self):
        self.keys = []
        self.requests = []

    def attempt(self, request, key, *, prefer=0):
        self.keys.append(key)
        self.requests.append(request)
        return self.say(request)


def lacking(say, model=MODEL, wanted=ALL):
    """What a probe misses, and the sentences."""
    found = probe(Engine(say), model, wanted, patience=AT_ONCE)
    return {finding.capability: finding.sentence for finding in found if not finding.ok}


@pytest.mark.parametrize("structured", ["json_schema", "prompt"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_practice_endpoint_can_do_everything(structured, stream):
    with running(SymbolicMind(CATALOGUE)) as server:
        model = replace(MODEL, structured=structured)
        found = probe(OpenAIEngine([server.url], stream=stream), model)

    assert [finding.capability for finding in found] == list(Capability)
    assert [finding.sentence for finding in found if not finding.ok] == []
    require(found, NEEDS, model)


def test_a_probe_survives_the_faults_that_a_run_survives():
    with running(
        SymbolicMind(CATALOGUE), knobs=Knobs.each(0.1, Fault.SERVER_ERROR, Fault.TRUNCATED, Fault.REFUSAL)
    ) as server:
        require(probe(OpenAIEngine([server.url]), MODEL, patience=AT_ONCE), NEEDS, MODEL)


def test_an_endpoint_that_is_not_there_is_a_finding_and_is_asked_no_further():
    found = probe(OpenAIEngine(["http://127.0.0.1:9/v1"]), MODEL, patience=AT_ONCE)

    assert not any(finding.ok for finding in found)
    assert "127.0.0.1:9" in found[0].sentence
    assert {finding.sentence for finding in found[1:]} == {"not tried, since chat failed."}
    with pytest.raises(UnfitEndpointError, match=r"cannot play the judge, which needs chat: .*base_url"):
        require(found, ["judge"], MODEL)


@pytest.mark.parametrize(
    ("fault", "tries"),
    [(ConnectionLostError("reset."), ATTEMPTS), (CredentialsError("no key."), 1), (InvalidRequestError("no."), 1)],
)
def test_a_fault_is_tried_again_only_where_that_can_help(fault, tries):
    def broken(_):
        raise fault

    engine = Engine(broken)
    found = probe(engine, MODEL, patience=AT_ONCE)

    assert str(fault) in found[0].sentence
    assert len(engine.requests) == tries


def test_a_server_that_refuses_tools_lacks_tools_alone():
    def without_tools(request):
        if request.tools:
            raise InvalidRequestError("400: auto tool choice needs a parser.")
        return good(request)

    assert lacking(without_tools) == {Capability.TOOLS: "400: auto tool choice needs a parser."}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (None, "wrote 'I would rather not.' instead"),
        (ToolCall("1", "pong", "{}"), "a tool that it was not given"),
        (ToolCall("1", "ping", '{"word": '), "which its schema forbids"),
        (ToolCall("1", "ping", '{"text": "amber"}'), "which its schema forbids"),
        (ToolCall("1", "ping", '["amber"]'), "which its schema forbids"),
    ],
)
def test_a_bad_tool_call_is_told_from_a_good_one(call, told):
    def calls(request):
        reply = good(request)
        return (
            replace(reply, text="I would rather not.", tool_calls=(call,) if call else ()) if request.tools else reply
        )

    missing = lacking(calls)

    assert list(missing) == [Capability.TOOLS]
    assert told in missing[Capability.TOOLS]


def test_a_model_may_have_a_bad_moment():
    moods = iter([False, True])

    def moody(request):
        return replace(good(request), tool_calls=()) if request.tools and not next(moods) else good(request)

    assert lacking(moody) == {}


def test_tools_are_asked_for_the_way_roles_do():
    engine = Engine()
    probe(engine, MODEL, {Capability.TOOLS})

    assert [request.tool_choice for request in engine.requests if request.tools] == ["auto"]


@pytest.mark.parametrize("said", ['{"word": "red"}', "red", '{"word": "quillomber", "more": 1}', ""])
def test_a_schema_that_is_ignored_is_noticed_whatever_comes_instead(said):
    missing = lacking(lambda request: replace(good(request), text=said) if request.schema else good(request))

    assert list(missing) == [Capability.JSON_SCHEMA]
    assert "did not enforce it" in missing[Capability.JSON_SCHEMA]


def test_only_the_schema_tells_the_word_that_it_demands():
    engine = Engine()
    probe(engine, MODEL, {Capability.JSON_SCHEMA})

    assert all(WORD not in message.content for request in engine.requests for message in request.messages)


def test_a_schema_told_in_the_prompt_is_no_matter_of_the_server():
    engine = Engine(lambda request: replace(good(request), text=f'```json\n{{"word": "{WORD}"}}\n```'))
    model = replace(MODEL, structured="prompt")

    found = probe(engine, model, {Capability.JSON_SCHEMA})

    assert found[-1].ok
    assert not any(request.schema for request in engine.requests)


def test_options_that_a_server_forgets_are_told_and_refuse_nobody():
    def forgetful(request):
        return replace(good(request), logprobs=None, usage=Usage())

    found = probe(Engine(forgetful), MODEL)

    assert {f.capability for f in found if not f.ok} == {Capability.LOGPROBS, Capability.USAGE}
    require(found, NEEDS, MODEL)


def test_logprobs_without_alternatives_are_not_what_was_asked_for():
    bald = (TokenLogprob("amber", -0.1),)

    missing = lacking(lambda r: replace(good(r), logprobs=bald) if r.sampling.logprobs is not None else good(r))

    assert "none of their alternatives" in missing[Capability.LOGPROBS]


def test_one_seed_with_two_texts_is_told():
    texts = iter("ab")

    missing = lacking(lambda r: replace(good(r), text=next(texts)) if r.sampling.seed == 7 else good(r))

    assert "'a' and 'b'" in missing[Capability.SEED]


def test_every_call_is_a_new_one_for_a_server_that_knows_keys():
    engine = Engine()
    probe(engine, MODEL)
    probe(engine, MODEL)

    assert len(set(engine.keys)) == len(engine.keys) > len(Capability)


def test_calls_are_drawn_as_the_model_is_configured_and_stay_short():
    engine = Engine()
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    probe(engine, replace(MODEL, sampling=Sampling(temperature=0.3, max_tokens=100, extra=extra)))

    assert {r.sampling.temperature for r in engine.requests} == {0.3}
    assert all(r.sampling.extra == extra for r in engine.requests)
    assert max(r.sampling.max_tokens for r in engine.requests) == 100


@pytest.mark.parametrize(
    ("capability", "role", "structured", "remedy"),
    [
        (Capability.TOOLS, "proposer", "json_schema", "--enable-auto-tool-choice --tool-call-parser hermes"),
        (Capability.JSON_SCHEMA, "judge", "json_schema", 'set structured = "prompt" in cast.models.m1'),
        (Capability.JSON_SCHEMA, "solver", "json_schema", 'set structured = "prompt" in cast.models.m1'),
        (Capability.JSON_SCHEMA, "judge", "prompt", "an endpoint that enforces one"),
    ],
)
def test_a_refusal_names_model_endpoint_role_lack_and_remedy(capability, role, structured, remedy):
    model = replace(MODEL, structured=structured)
    found = [replace(f, ok=f.capability is not capability) for f in probe(Engine(), model)]

    with pytest.raises(UnfitEndpointError) as refused:
        require(found, [role], model)

    told = str(refused.value)
    assert all(part in told for part in ("m1 (practice at the endpoint local)", role, capability, remedy))
    assert refused.value.exit_code == 2


def test_a_role_is_not_refused_for_what_another_one_needs():
    found = [replace(f, ok=f.capability is not Capability.TOOLS) for f in probe(Engine(), MODEL)]

    require(found, [role for role in NEEDS if role not in ("solver", "proposer")], MODEL)


def test_what_was_not_probed_is_not_taken_for_granted():
    found = probe(Engine(), MODEL, {Capability.CHAT})

    with pytest.raises(UnfitEndpointError, match="was not probed"):
        require(found, ["judge"], MODEL)
