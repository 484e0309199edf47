"""The conversation with tools: what a model may do in it, what it is told, and when it is over."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.unit.practice_league import Script, calls, league_web, says, voice

from datagen.agents.budget import Budget, Limits
from datagen.agents.llm.loop import FinalTool, research
from datagen.agents.llm.rivals import LlmRivalSeeker
from datagen.agents.llm.solver import ANSWER, AnswerArguments, LlmSolver
from datagen.agents.toolbox import CALLS_PER_TURN
from datagen.clients.billing import billing
from datagen.errors import FetchError, UnusableReplyError

HILL_END = "https://atlas.example/stadiums/hill-end"
LOW_PARK = "https://atlas.example/stadiums/low-park"
LOOK = ("search", {"query": "stadiums"})
READ = ("visit", {"url": HILL_END})


def end(answer="Hill End", *sources, **more):
    return calls(("answer", {"answer": answer, "sources": list(sources), **more}))


def solve(*lines, budget=None, **more):
    client = Script(list(lines))
    attempt = LlmSolver(voice(client), "m1", budget, **more).solve("Which stadium?", league_web())
    return attempt, client.requests


def results(request):
    return [json.loads(m.content) for m in request.messages if m.role == "tool"]


def test_an_attempt_counts_what_was_looked_up_and_names_what_was_read():
    attempt, requests = solve(calls(LOOK), calls(READ), end("Hill End", HILL_END, LOW_PARK, "https://nowhere/"))

    assert (attempt.solver, attempt.answer, attempt.answer_key, attempt.failure) == ("m1", "Hill End", None, None)
    assert (attempt.searches, attempt.visits) == (1, 1)
    assert attempt.urls == (HILL_END,)
    assert attempt.evidence_urls == (HILL_END,), "a source that was never visited is no evidence"
    assert [len(r.messages) for r in requests] == [2, 4, 6]


def test_every_call_of_a_turn_is_answered_in_order_before_the_model_speaks_again():
    attempt, requests = solve(calls(LOOK, READ, ("visit", {"url": "https://nowhere/"})), end())

    first, second, third = results(requests[1])
    assert "results" in first
    assert second["url"] == HILL_END
    assert third["error"] == "not_found"
    assert (attempt.searches, attempt.visits) == (1, 2)
    asked, told = requests[1].messages[2], requests[1].messages[3:]
    assert (
        [m.tool_call_id for m in told]
        == [call.id for call in asked.tool_calls]
        == ["c00010000", "c00010001", "c00010002"]
    )


def test_a_page_that_cannot_be_fetched_is_a_result_and_no_failure():
    class Offline:
        def search(self, query, top_k=5):
            return []

        def visit(self, url, offset=0):
            raise FetchError("https://a/ may not be fetched: ask the site.", "robots")

    client = Script([calls(READ), end()])
    attempt = LlmSolver(voice(client), "m1").solve("Which stadium?", Offline())

    assert (attempt.answer, attempt.visits, attempt.urls) == ("Hill End", 1, ())
    assert results(client.requests[1]) == [
        {"error": "not_fetched", "message": "The page could not be fetched: robots."}
    ]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (("eval", {"code": "1"}), "unknown_tool"),
        (("__class__", {}), "unknown_tool"),
        (("search", "{broken"), "bad_arguments"),
        (("search", {"query": "x", "top_k": 1000}), "bad_arguments"),
        (("visit", {"url": HILL_END, "offset": -1}), "bad_arguments"),
        (("answer", {"text": "Hill End"}), "bad_arguments"),
        (("answer", {"answer": "x" * 401}), "bad_arguments"),
    ],
)
def test_a_call_that_is_not_understood_is_answered_counted_and_mended(bad, code):
    with billing() as bill:
        attempt, requests = solve(calls(bad), end())

    assert attempt.answer == "Hill End"
    assert (attempt.searches, attempt.visits) == (0, 0)
    assert results(requests[1])[0]["error"] == code
    assert bill.corrections == 1


def test_arguments_that_are_no_json_are_not_sent_back():
    _, requests = solve(calls(("search", "{broken")), end())

    assert requests[1].messages[2].tool_calls[0].arguments == "{}"


@pytest.mark.parametrize(
    ("line", "reason"),
    [(says("I think it is Hill End."), "tool_calls"), (replace(says(""), refusal="I cannot."), "refusal")],
)
def test_a_turn_without_a_call_is_mended_twice_in_a_row_and_then_given_up(line, reason):
    with billing() as bill:
        attempt, requests = solve(line, line, calls(LOOK), line, line, end())
    assert attempt.answer == "Hill End"
    assert bill.corrections == 4
    assert [m.role for m in requests[2].messages] == ["system", "user", "assistant", "user", "assistant", "user"]

    with billing() as bill, pytest.raises(UnusableReplyError, match="3 turns in a row") as error:
        solve(line, line, line)
    assert error.value.reason == reason
    assert bill.corrections == 2


def test_a_turn_that_was_cut_off_is_told_so():
    _, requests = solve(says("Let me think", finish_reason="length"), end())

    assert "cut off" in requests[1].messages[-1].content


def test_calls_of_one_turn_beyond_the_limit_are_not_made():
    attempt, requests = solve(calls(*[LOOK] * (CALLS_PER_TURN + 2)), end(), budget=Budget(500, 1))

    assert attempt.searches == CALLS_PER_TURN
    errors = [r.get("error") for r in results(requests[1])]
    assert errors == [None] * CALLS_PER_TURN + ["too_many_calls"] * 2


def test_what_the_budget_does_not_cover_is_refused_without_a_correction():
    with billing() as bill:
        attempt, requests = solve(calls(LOOK), calls(LOOK), calls(READ), end(), budget=Budget(1, 9))

    assert (attempt.searches, attempt.visits, attempt.answer) == (1, 1, "Hill End")
    assert results(requests[2])[1]["error"] == "budget_spent"
    assert bill.corrections == 0


def test_the_last_result_says_that_it_was_the_last():
    _, requests = solve(calls(LOOK), calls(READ), end(), budget=Budget(1, 1))

    assert "notice" not in results(requests[1])[-1]
    assert "`answer`" in results(requests[2])[-1]["notice"]


def test_a_model_that_never_concludes_has_spent_its_budget():
    attempt, requests = solve(calls(LOOK), calls(LOOK), calls(READ), calls(LOOK), budget=Budget(1, 0))

    assert (attempt.answer, attempt.failure, attempt.searches, attempt.visits) == (None, "budget", 1, 0)
    assert len(requests) == 4


@pytest.mark.parametrize("limit", [{"turns": 2}, {"context_chars": 1000}])
def test_turns_and_room_in_the_context_end_the_research_too(limit):
    attempt, requests = solve(calls(LOOK), calls(READ), end(), **limit)

    assert "notice" in results(requests[1])[-1]
    assert results(requests[2])[-1]["error"] == "budget_spent"
    assert (attempt.answer, attempt.visits) == ("Hill End", 0)


@pytest.mark.parametrize("nothing", ["", "  ", "Unknown.", "N/A", "I cannot find it"])
def test_an_answer_that_says_there_is_none_is_none(nothing):
    attempt, _ = solve(calls(LOOK), end(nothing))
    assert (attempt.answer, attempt.failure) == (None, "retrieval")

    attempt, _ = solve(end("", failure="ambiguous"))
    assert (attempt.answer, attempt.failure) == (None, "ambiguous")


def test_equal_attempts_are_equal_requests_whatever_ids_a_server_gives_its_calls():
    lines = [calls(LOOK), calls(READ), end()]
    renamed = [
        replace(r, tool_calls=tuple(replace(c, id=f"chat-{i}") for c in r.tool_calls)) for i, r in enumerate(lines)
    ]

    assert solve(*lines)[1] == solve(*renamed)[1]


def test_two_solvers_of_one_model_draw_differently_and_a_solver_keeps_its_seed():
    clients = [Script([calls(LOOK), end()]) for _ in range(2)]
    for client, name in zip(clients, ("m1", "m2"), strict=True):
        LlmSolver(voice(client), name).solve("Which stadium?", league_web())

    seeds = [{r.sampling.seed for r in client.requests} for client in clients]
    assert [len(each) for each in seeds] == [1, 1]
    assert seeds[0] != seeds[1]


def test_the_tools_are_the_same_in_every_turn():
    _, requests = solve(calls(LOOK), calls(READ), end(), budget=Budget(1, 1))

    assert len({json.dumps(r.body()["tools"]) for r in requests}) == 1
    assert [t.name for t in requests[0].tools] == ["search", "visit", "answer"]


def test_a_final_tool_may_have_problems_of_its_own():
    def unread(value, windows):
        return [f"{u} was not visited." for u in value.sources if u not in {w.url for w in windows}]

    def run(*lines, keep_flawed):
        client = Script(list(lines))
        final = FinalTool("answer", "End.", AnswerArguments, problems=unread, keep_flawed=keep_flawed)
        done = research(voice(client), (), league_web(), final, Limits(), seed=1)
        return done, client.requests

    mended, requests = run(end("x", HILL_END), calls(READ), end("x", HILL_END), keep_flawed=False)
    assert mended.value.answer == "x"
    assert mended.problems_left == ()
    assert "was not visited" in results(requests[1])[0]["message"]

    flawed, _ = run(*[end("x", HILL_END)] * 3, keep_flawed=True)
    assert flawed.problems_left == (f"{HILL_END} was not visited.",)

    with pytest.raises(UnusableReplyError):
        run(*[end("x", HILL_END)] * 3, keep_flawed=False)


def test_a_rival_that_is_the_known_answer_is_none():
    def seek(*lines):
        return LlmRivalSeeker(voice(Script(list(lines)), "rival")).seek("Which?", "The Hill End", league_web(), 0)

    said = calls(("report_rival", {"rival": "Low Park", "sources": [LOW_PARK]}))
    assert seek(calls(("visit", {"url": LOW_PARK})), said).answer == "Low Park"
    assert seek(calls(("report_rival", {"rival": "hill end"}))).answer is None
    assert seek(calls(("report_rival", {"rival": ""}))).failure is None


def test_the_solver_is_told_the_question_the_budget_and_nothing_else():
    _, requests = solve(end(), budget=Budget(3, 5))

    system, user = requests[0].messages
    assert "<question>\nWhich stadium?\n</question>" in user.content
    assert 'searches="3" visits="5"' in user.content
    assert ANSWER.name in system.content
