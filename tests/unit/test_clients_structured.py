"""Replies that have to fit a schema, asked of a real server through the whole way of a call."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from pydantic import BaseModel, Field
from tests.unit.misbehaving_server import answering, whole

from datagen.clients.billing import billing
from datagen.clients.cache import ReplyCache
from datagen.clients.chat import Message, ModelSpec, Sampling
from datagen.clients.ledger import Ledger
from datagen.clients.openai_chat import OpenAIEngine
from datagen.clients.prices import PriceBook
from datagen.clients.service import ChatService, Endpoint
from datagen.clients.structured import NOTHING, ask, bare, strict_schema
from datagen.errors import UnusableReplyError
from datagen.records.shipped import shipped_file

TALK = (Message("system", "You name a fruit."), Message("user", "Which fruit is yellow?"))
GOOD = '{"name": "banana", "colours": ["yellow"]}'


class Fruit(BaseModel):
    name: str = Field(min_length=3, description="In English.")
    colours: list[Literal["yellow", "red"]] = Field(max_length=2)
    note: str = ""


def said(text, finish="stop", **message):
    choice = {"index": 0, "message": {"role": "assistant", "content": text} | message, "finish_reason": finish}
    return whole({"model": "m", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})


@pytest.fixture
def asked(tmp_path):
    """`asked(answers, ...)`: what comes of it, what the server heard, and the bill."""

    def go(*answers, structured="json_schema", **options):
        spec = ModelSpec("m1", "here", "fruity", Sampling(0.5, max_tokens=50), structured)
        with answering(*answers) as server, billing() as bill:
            service = ChatService(
                {"here": Endpoint("here", OpenAIEngine([server.url], identity="here"))},
                ReplyCache(tmp_path / "cache", "chat"),
                Ledger(tmp_path / "ledger.sqlite"),
                PriceBook.load(shipped_file("prices.toml")),
            )
            try:
                got = ask(service, spec, TALK, role="guesser", name="fruit", schema=Fruit, seed=9, **options)
            except UnusableReplyError as exc:
                got = exc
        return got, [heard.json() for heard in server.heard], bill

    return go


def test_a_reply_that_fits_is_a_value_and_the_server_was_asked_to_enforce_the_schema(asked):
    got, (body,), bill = asked(said(GOOD))

    assert (got.value.name, got.value.colours, got.problems_left, got.corrections) == ("banana", ["yellow"], (), 0)
    assert bill.corrections == 0
    assert body["seed"] == 9
    assert body["messages"] == [{"role": m.role, "content": m.content} for m in TALK]
    spec = body["response_format"]["json_schema"]
    assert (spec["name"], spec["strict"]) == ("fruit", True)
    assert spec["schema"] == strict_schema(Fruit)


def test_a_schema_can_be_told_in_the_system_turn_instead(asked):
    got, (body,), _ = asked(said(GOOD), structured="prompt")

    assert got.value.name == "banana"
    assert "response_format" not in body
    system, user = (message["content"] for message in body["messages"])
    assert system.startswith("You name a fruit.")
    told = system.split('<reply_schema name="fruit">\n')[1].split("\n</reply_schema>")[0]
    assert json.loads(told) == strict_schema(Fruit)
    assert user == TALK[1].content


def test_a_schema_is_closed_requires_every_key_and_has_only_what_strict_servers_take():
    class Basket(BaseModel):
        title: str = Field(default="x", max_length=5)
        fruits: list[Fruit] = Field(min_length=1)
        inner: dict[str, Fruit] | None = None

    schema = strict_schema(Basket)

    def objects(part):
        if isinstance(part, dict):
            if "properties" in part and part.get("type") == "object":
                yield part
            for value in part.values():
                yield from objects(value)
        elif isinstance(part, list):
            for value in part:
                yield from objects(value)

    found = list(objects(schema))
    assert len(found) == 2
    for each in found:
        assert each["additionalProperties"] is False
        assert each["required"] == list(each["properties"])
    assert "title" in schema["properties"], "a key of that name is no keyword"
    fruit = schema["$defs"]["Fruit"]["properties"]
    assert fruit["name"] == {"type": "string", "description": "In English."}
    assert fruit["colours"]["items"]["enum"] == ["yellow", "red"]


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\n",
        f"  {GOOD}\n\n",
        f"<think>\nA fruit, so {{...}}\n</think>\n\n{GOOD}",
        f"<think></think>```json\n{GOOD}\n```",
    ],
)
def test_a_thought_before_it_and_the_fence_around_it_are_no_faults(asked, text):
    got, bodies, _ = asked(said(text))

    assert got.value.name == "banana"
    assert len(bodies) == 1


@pytest.mark.parametrize("text", [f"Here you are: {GOOD}", f"{GOOD} I hope it helps", f"{GOOD}\n{GOOD}", "{'name': 1}"])
def test_nothing_else_is_repaired(asked, text):
    got, bodies, bill = asked(said(text), said(GOOD))

    assert got.corrections == bill.corrections == 1
    assert len(bodies) == 2


def test_a_thought_inside_the_reply_is_part_of_it():
    assert bare('{"a": "<think>x</think>"}') == '{"a": "<think>x</think>"}'


def test_a_correction_shows_the_bad_reply_and_says_what_is_wrong_with_it(asked):
    bad = '{"name": "fig", "colours": ["green"]}'
    got, (first, second), bill = asked(said(bad), said(GOOD))

    assert got.value.name == "banana"
    assert second["messages"][:2] == first["messages"]
    assert second["messages"][2] == {"role": "assistant", "content": bad}
    told = second["messages"][3]
    assert told["role"] == "user"
    assert "colours.0: Input should be 'yellow' or 'red'." in told["content"]
    assert second["response_format"] == first["response_format"]
    assert bill.corrections == 1
    assert bill.spend()["input_tokens"] == 10, "both replies were paid for"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said("no"), "json"),
        (said(""), "json"),
        (said(None), "json"),
        (said("[1]"), "schema"),
        (said("{}"), "schema"),
        (said(GOOD, "length"), "length"),
        (said("", "content_filter"), "refusal"),
        (said(None, refusal="I would rather not."), "refusal"),
        (said('{"name": NaN}'), "json"),
        (said("[" * 5_000), "json"),
    ],
)
def test_a_model_that_cannot_be_corrected_ends_in_one_error_with_its_reason(asked, answer, reason):
    got, bodies, bill = asked(answer)

    assert isinstance(got, UnusableReplyError)
    assert got.reason == reason
    assert len(bodies) == 3
    assert bill.corrections == 2
    assert bill.spend()["calls"] == 3
    assert "guesser (m1) gave no usable fruit after 2 corrections" in str(got)
    assert all(message["content"] for message in bodies[-1]["messages"]), "servers refuse empty turns"


def test_an_empty_reply_is_shown_as_what_it_is(asked):
    _, bodies, _ = asked(said(""), said(GOOD))

    assert bodies[1]["messages"][2]["content"] == NOTHING


def test_what_fits_the_schema_and_is_still_wrong_is_said_and_corrected(asked):
    def problems(fruit):
        return () if fruit.name == "banana" else (f"{fruit.name} does not grow here.",)

    got, bodies, _ = asked(said(GOOD.replace("banana", "kiwi")), said(GOOD), problems=problems)

    assert (got.value.name, got.corrections, got.problems_left) == ("banana", 1, ())
    assert "kiwi does not grow here." in bodies[1]["messages"][3]["content"]


def test_a_flawed_value_is_kept_only_for_those_who_want_it(asked):
    def always(_):
        return ("It is too sweet.",)

    kept, bodies, _ = asked(said(GOOD), said(GOOD.replace("banana", "lemon")), problems=always, keep_flawed=True)
    refused, _, _ = asked(said(GOOD), problems=always)

    assert (kept.value.name, kept.problems_left, len(bodies)) == ("lemon", ("It is too sweet.",), 3)
    assert (type(refused), refused.reason) == (UnusableReplyError, "problems")


def test_the_last_value_with_a_flaw_is_kept_where_later_replies_are_none(asked):
    got, _, _ = asked(said(GOOD), said("oh"), problems=lambda _: ("Wrong.",), keep_flawed=True)

    assert (got.value.name, got.problems_left) == ("banana", ("Wrong.",))


def test_where_there_never_was_a_value_none_is_kept(asked):
    got, _, _ = asked(said("oh"), keep_flawed=True, problems=lambda _: ("Wrong.",))

    assert isinstance(got, UnusableReplyError)


def test_no_more_corrections_are_asked_for_than_wanted(asked):
    got, bodies, bill = asked(said("no"), corrections=0)

    assert isinstance(got, UnusableReplyError)
    assert len(bodies) == 1
    assert bill.corrections == 0
