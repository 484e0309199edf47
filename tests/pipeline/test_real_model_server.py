"""Our clients against a server that is not ours: `transformers serve --continuous-batching` with a tiny Qwen3-shaped model.

It takes `logprobs` and `response_format` without a word and does nothing about them, which is what has to be noticed.
"""

from __future__ import annotations

import pytest
from tests.pipeline.serving import ServedModel, serving

from datagen.clients.billing import billing
from datagen.clients.cache import ReplyCache
from datagen.clients.capabilities import Capability, probe, require
from datagen.clients.chat import ChatRequest, Message, ModelSpec, Sampling
from datagen.clients.ledger import Ledger
from datagen.clients.openai_chat import OpenAIEngine
from datagen.clients.prices import PriceBook
from datagen.clients.service import ChatService, Endpoint
from datagen.errors import UnfitEndpointError
from datagen.records.shipped import shipped_file

pytestmark = pytest.mark.pipeline

SHORT = Sampling(max_tokens=24)
HELLO = (Message("system", "You are kind."), Message("user", "Say hello."))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


def engine(served: ServedModel, **more) -> OpenAIEngine:
    return OpenAIEngine([served.url], timeout_seconds=120, **more)


@pytest.fixture(scope="module")
def findings(served):
    model = ModelSpec("m1", "local", served.model, SHORT)
    return model, {finding.capability: finding for finding in probe(engine(served), model)}


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_is_answered(served, stream):
    reply = engine(served, stream=stream).attempt(ChatRequest(served.model, HELLO, sampling=SHORT), "key")

    assert reply.text
    assert reply.finish_reason in ("stop", "length")
    assert reply.usage.output_tokens is None or 0 < reply.usage.output_tokens <= 24


def test_what_the_server_leaves_out_without_a_word_is_noticed(findings):
    _, found = findings

    assert found[Capability.CHAT].ok
    assert not found[Capability.LOGPROBS].ok
    assert "sent none" in found[Capability.LOGPROBS].sentence
    assert not found[Capability.JSON_SCHEMA].ok
    assert "did not enforce it" in found[Capability.JSON_SCHEMA].sentence
    assert not found[Capability.TOOLS].ok


@pytest.mark.parametrize(
    ("role", "lacking", "remedy"),
    [
        ("judge", "json_schema", 'structured = "prompt" in cast.models.m1'),
        ("solver", "tools", "--tool-call-parser hermes"),
    ],
)
def test_a_role_is_refused_with_what_is_lacking_and_what_to_do(findings, served, role, lacking, remedy):
    model, found = findings

    with pytest.raises(UnfitEndpointError) as refused:
        require(found.values(), [role], model)

    told = str(refused.value)
    assert all(part in told for part in (role, lacking, remedy, served.model, "endpoint local"))
    assert refused.value.exit_code == 2


def test_a_reply_is_paid_once_and_kept(served, tmp_path):
    asked = ChatRequest(served.model, HELLO, sampling=SHORT)

    def service(offline=False):
        return ChatService(
            {"local": Endpoint("local", engine(served))},
            ReplyCache(tmp_path / "cache", "chat"),
            Ledger(tmp_path / "ledger.sqlite"),
            PriceBook.load(shipped_file("prices.toml")),
            offline=offline,
        )

    with billing() as bill:
        first = service().complete(asked, endpoint="local", role="guesser")
        again = service(offline=True).complete(asked, endpoint="local", role="guesser")

    told = first.usage
    booked = Ledger(tmp_path / "ledger.sqlite").totals()
    assert again == first
    assert (booked.calls, booked.input_tokens, booked.output_tokens) == (1, told.input_tokens, told.output_tokens)
    assert (bill.making.calls, bill.making.output_tokens) == (2, told.output_tokens and 2 * told.output_tokens)
    assert booked.cost_usd is None, "a model without a price costs an unknown sum, not nothing"
