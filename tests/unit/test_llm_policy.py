"""A model's attempt as a log: everything it wrote and was shown, to the letter, and how it ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.practice_league import Script, calls, league_web, says, voice

from datagen.agents.budget import Budget, Limits
from datagen.agents.llm.policy import LlmPolicy
from datagen.clients.chat import TokenLogprob, Usage

HILL_END = "https://atlas.example/stadiums/hill-end"
LOOK = ("search", {"query": "stadiums"})
READ = ("visit", {"url": HILL_END})


def end(answer="Hill End", *sources, **more):
    return calls(("answer", {"answer": answer, "sources": list(sources), **more}))


def roll_out(*lines, limits=None):
    client = Script(list(lines))
    script = LlmPolicy(voice(client)).roll_out("Which stadium?", league_web(), attempt=0, limits=limits or Limits())
    return script, client.requests


def kinds(script):
    return [(event.turn, event.kind) for event in script.events]


def test_a_transcript_holds_thoughts_calls_results_and_the_answer_turn_by_turn():
    thinking = replace(calls(LOOK, READ), text="A stadium is asked for.", reasoning="Let me look.")
    script, requests = roll_out(thinking, end("Hill End", HILL_END))

    assert kinds(script) == [(0, "thought"), (0, "call"), (0, "call"), (0, "result"), (0, "result"), (1, "answer")]
    assert script.events[0].text == "Let me look.\n\nA stadium is asked for."
    assert [e.text for e in script.events if e.kind == "result"] == [
        m.content for m in requests[1].messages if m.role == "tool"
    ]
    shown = script.events[4].documents[0]
    assert (shown.url, shown.start) == (HILL_END, 0)
    assert (script.answer, script.termination) == ("Hill End", "answered")
    assert [d.url for d in script.events[-1].documents] == [HILL_END]


def test_what_a_model_wrote_wrong_is_logged_as_it_wrote_it():
    script, _ = roll_out(says("It is Hill End."), calls(("search", "{broken")), end())

    assert kinds(script) == [
        (0, "malformed"),
        (0, "note"),
        (1, "call"),
        (1, "result"),
        (2, "answer"),
    ]
    assert script.events[2].arguments == "{broken"
    assert script.events[3].error == "bad_arguments"


def test_an_attempt_that_cannot_be_mended_ends_as_malformed_with_its_log():
    script, _ = roll_out(*[says("I think so.")] * 3)

    assert (script.termination, script.answer) == ("malformed", None)
    assert [e.kind for e in script.events].count("malformed") == 3


@pytest.mark.parametrize(
    ("limits", "ended"),
    [
        (Limits(Budget(1, 1)), "budget"),
        (Limits(turns=2), "turns"),
        (Limits(tokens=1), "tokens"),
        (Limits(seconds=1e-9), "time"),
        (Limits(context_chars=10), "context"),
    ],
)
def test_every_limit_closes_the_research_and_says_so(limits, ended):
    script, requests = roll_out(calls(LOOK, READ), *[calls(LOOK)] * 3, limits=limits)

    assert (script.termination, script.answer) == (ended, None)
    assert "Nothing more can be looked up" in requests[1].messages[-1].content


def test_an_answer_that_comes_after_the_last_look_counts():
    script, _ = roll_out(calls(LOOK), end(), limits=Limits(turns=2))

    assert (script.termination, script.answer) == ("answered", "Hill End")


def test_an_empty_answer_is_giving_up_and_says_why():
    script, _ = roll_out(end("", failure="retrieval"))

    assert (script.termination, script.answer) == ("gave_up", None)
    assert "retrieval" in script.detail


def test_tokens_of_the_engine_are_kept_as_they_are():
    reply = replace(
        end(),
        token_ids=(5, 6),
        logprobs=(TokenLogprob("Hill", -0.5), TokenLogprob(" End", -0.25)),
        usage=Usage(7, 2),
    )
    script, _ = roll_out(reply)

    (turn,) = script.generations
    assert (turn.turn, turn.token_ids, turn.logprobs, turn.prompt_tokens) == (0, (5, 6), (-0.5, -0.25), 7)
    assert (script.input_tokens, script.output_tokens) == (7, 2)


def test_tokens_that_a_server_did_not_count_are_unknown_rather_than_none():
    script, _ = roll_out(calls(LOOK), replace(end(), usage=Usage()))

    assert (script.input_tokens, script.output_tokens) == (None, None)


def test_an_attempt_of_eighty_calls_is_logged_to_its_end():
    looks = [calls(("search", {"query": f"stadiums {n}"})) for n in range(80)]
    script, requests = roll_out(*looks, end("Hill End"), limits=Limits(Budget(100, 10)))

    assert (script.answer, script.termination) == ("Hill End", "answered")
    assert sum(event.kind == "result" for event in script.events) == 80
    assert [event.turn for event in script.events][-1] == 80
    assert len(requests) == 81
