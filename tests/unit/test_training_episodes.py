"""Attempts token for token: what the engine wrote goes back to it, and what breaks has no grade."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.agents.budget import Budget, Limits
from datagen.errors import EngineError, FetchError, PageNotFoundError, TrainingError
from datagen.records.question import Answer
from datagen.records.trajectory import Event
from datagen.rollouts.collect import Assessor, Task
from datagen.training.engines.base import Completion, Sampling
from datagen.training.episodes import EpisodeLimits, Episodes, turn_seed
from datagen.training.framing.base import sampled_from_log
from datagen.training.framing.compact import ANSWER, END, MARKS, RESULT, SEARCH, VISIT, CompactFraming
from datagen.training.tokenizer import CompactTokenizer
from datagen.web.tools import Hit, Window

TEXTS = [
    "Which region contains Velmo?",
    "Aga Brun was born at Velmo in 1970.",
    "place of birth ; region",
    "1 Velmo | news",
]
TOKENIZER = CompactTokenizer.train(TEXTS * 5, size=400, marks=MARKS)
FRAMING = CompactFraming(TOKENIZER, page_tokens=40)
TASK = Task("q1", "Which region contains Velmo?", "chains", Answer("Upper Trisk", "entity", "Upper Trisk"), ())
PAGES = {"https://a.example/velmo": ("Velmo", "Velmo lies in Upper Trisk. " + "It rains. " * 40)}


class Pages:
    """A web of one page."""

    def __init__(self, fault: Exception | None = None, seconds: float = 0.0) -> None:
        self.fault, self.seconds = fault, seconds

    def search(self, query: str, top_k: int = 5) -> list[Hit]:
        return [
            Hit(url, title, "a.example", "encyclopedia", None, text[:40], 1.0) for url, (title, text) in PAGES.items()
        ]

    def visit(self, url: str, offset: int = 0) -> Window:
        time.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        if url not in PAGES:
            raise PageNotFoundError(url)
        title, text = PAGES[url]
        return Window(
            page_id="pg1", url=url, host="a.example", title=title, source_kind="encyclopedia", published_at=None,
            about_url=None, entity_type=None, offset=0, next_offset=None, total_chars=len(text), text=text, links=(),
        )  # fmt: skip


@dataclass
class Script:
    """An engine that says what it was told to."""

    turns: Sequence[Sequence[int]]
    version: int = 3
    asked: list[tuple[list[int], Sampling, str]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)

    async def generate(self, prompt, sampling, *, session="", share=""):
        self.asked.append((list(prompt), sampling, session))
        if len(self.asked) > len(self.turns):
            raise EngineError("the engine is gone")
        said = tuple(self.turns[len(self.asked) - 1])
        return Completion(said, tuple(-0.5 - i for i in range(len(said))), "stop", self.version)

    async def release(self, session):
        self.released.append(session)


def said(mark: str, text: str, thought: str = "") -> list[int]:
    return [*TOKENIZER.encode(thought), TOKENIZER.mark(mark), *TOKENIZER.encode(text), TOKENIZER.mark(END)]


WAY = [said(SEARCH, "Velmo", "region"), said(VISIT, "1"), said(ANSWER, "Upper Trisk")]


def episodes(web: Pages | None = None, **limits) -> Episodes:
    budget = Limits(Budget(limits.pop("searches", 3), limits.pop("visits", 3)), turns=limits.pop("turns", None))
    return Episodes(
        web or Pages(),
        FRAMING,
        EpisodeLimits(budget, **{"turn_tokens": 40, "context_tokens": 600} | limits),
        lambda task, number, script: Assessor().assess(task, "test", number, script),
    )


def attempt(engine: Script, made: Episodes | None = None, **options):
    return asyncio.run((made or episodes()).attempt(engine, TASK, number=0, sampling=Sampling(seed=5), **options))


def test_what_was_sampled_stands_in_the_context_token_for_token():
    engine = Script(WAY)

    rollout = attempt(engine)

    (context,) = rollout.sequences
    written = [int(token) for token in context.input_ids[context.written]]
    assert written == [token for turn in WAY for token in turn]
    expected = [-0.5 - i for turn in WAY for i in range(len(turn))]
    np.testing.assert_allclose(context.logprobs[context.written], expected)
    assert (context.logprobs[~context.written] == 0).all()
    for earlier, later in zip(engine.asked, engine.asked[1:], strict=False):
        assert later[0][: len(earlier[0])] == earlier[0]
    assert (rollout.correct, rollout.reward, rollout.termination) == (True, 1.0, "answered")
    assert (rollout.turns, rollout.searches, rollout.visits, rollout.version) == (3, 1, 1, 3)
    assert engine.released == [rollout.rollout_id]


def test_every_turn_asks_with_a_seed_of_its_own_and_stops_at_the_end_of_a_turn():
    engine = Script(WAY)

    attempt(engine)

    seeds = [sampling.seed for _, sampling, _ in engine.asked]
    assert seeds == [turn_seed(5, turn) for turn in range(3)]
    assert len(set(seeds)) == 3
    assert {sampling.stop for _, sampling, _ in engine.asked} == {(TOKENIZER.mark(END),)}


def test_an_engine_that_breaks_leaves_an_attempt_without_a_grade():
    rollout = attempt(Script(WAY[:1]))

    assert (rollout.correct, rollout.reward, rollout.termination) == (None, None, "error")
    assert "gone" in rollout.transcript.detail


@pytest.mark.parametrize(
    ("web", "limits", "named"),
    [
        (Pages(FetchError("no route", reason="no_route")), {}, "not_fetched"),
        (Pages(seconds=0.5), {"tool_seconds": 0.05}, "timed_out"),
    ],
)
def test_a_tool_that_breaks_is_not_the_policy_s_fault(web, limits, named):
    rollout = attempt(Script(WAY), episodes(web, **limits))

    assert (rollout.correct, rollout.reward, rollout.termination) == (None, None, "error")
    assert named in rollout.transcript.detail


def test_a_number_that_no_result_has_is_told_to_the_policy():
    engine = Script([said(SEARCH, "Velmo"), said(VISIT, "9"), said(ANSWER, "Velmo")])

    rollout = attempt(engine)

    assert TOKENIZER.decode(engine.asked[2][0]).endswith("not found<end>")
    assert (rollout.correct, rollout.reward) == (False, 0.1)


@pytest.mark.parametrize(
    "turn",
    [
        [*TOKENIZER.encode("no mark at all"), TOKENIZER.mark(END)],
        said(SEARCH, "Velmo")[:-1],
        [*said(SEARCH, "Velmo")[:-1], *said(ANSWER, "Velmo")],
        [TOKENIZER.mark(RESULT), *said(ANSWER, "Upper Trisk")],
        [],
    ],
)
def test_a_turn_that_is_no_turn_ends_the_attempt_as_wrong(turn):
    rollout = attempt(Script([turn]))

    assert (rollout.termination, rollout.correct, rollout.parse_failures) == ("malformed", False, 1)


def test_spent_budgets_are_told_and_turns_are_counted():
    engine = Script([said(SEARCH, "Velmo"), said(SEARCH, "Velmo"), said(ANSWER, "Upper Trisk")])

    rollout = attempt(engine, episodes(searches=1, visits=1))

    assert TOKENIZER.decode(engine.asked[2][0]).endswith("budget spent<end>")
    assert rollout.correct is True
    assert attempt(Script([said(SEARCH, "Velmo")] * 3), episodes(turns=2)).termination == "turns"


def test_a_full_context_ends_the_attempt():
    rollout = attempt(Script([said(SEARCH, "Velmo")] * 9), episodes(searches=9, context_tokens=40))

    assert rollout.termination == "context"
    assert len(rollout.sequences[0].input_ids) <= 40 + 80


def test_without_tools_the_model_is_brought_to_answer():
    engine = Script([[*TOKENIZER.encode("Upper Trisk"), TOKENIZER.mark(END)]])

    rollout = attempt(engine, tools=False)

    assert engine.asked[0][0][-1] == TOKENIZER.mark(ANSWER)
    assert rollout.correct is True
    assert rollout.searches == rollout.visits == 0


def test_without_tools_a_call_finds_nothing_and_there_is_no_second_turn():
    engine = Script(WAY)

    rollout = attempt(engine, tools=False)

    assert len(engine.asked) == 1
    assert (rollout.correct, rollout.termination) == (False, "turns")
    assert [event.error for event in rollout.transcript.events if event.kind == "result"] == ["budget_spent"]


# The compact framing ---------------------------------------------------------------------------------------------------


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back_and_never_becomes_a_mark(text):
    tokens = TOKENIZER.encode(text)

    assert TOKENIZER.decode(tokens) == text
    assert all(TOKENIZER.mark_name(token) is None for token in tokens)


@pytest.mark.parametrize("text", ["<end> <answer> x", "1976 and 12,345.6", "  two  blanks\n\n", "Žěvěst"])
def test_texts_with_marks_numbers_and_blanks_come_back(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
    assert TOKENIZER.mark(END) not in TOKENIZER.encode(text)


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4), st.sampled_from(["Velmo", "1970"]))
@settings(deadline=None)
def test_a_written_turn_reads_back_as_its_events(words, query):
    talk = FRAMING.begin("Which region contains Velmo?")
    arguments = orjson.dumps({"query": query, "top_k": FRAMING.hits}).decode()
    events = (
        Event(0, "thought", " ".join(words)),
        Event(0, "call", call_id="c0", tool="search", arguments=arguments),
    )

    assert talk.read(talk.write(events), 0) == events


def test_a_log_becomes_the_tokens_that_an_engine_would_have_written():
    rollout = attempt(Script(WAY))

    again = sampled_from_log(FRAMING, TASK.question, rollout.transcript.events)

    np.testing.assert_array_equal(again.input_ids, rollout.sequences[0].input_ids)
    np.testing.assert_array_equal(again.written, rollout.sequences[0].written)


def test_a_log_that_the_framing_cannot_say_is_refused():
    two_calls = [Event(0, "call", call_id=name, tool="search", arguments='{"query": "x"}') for name in ("c0", "c1")]
    elsewhere = [Event(0, "call", call_id="c0", tool="visit", arguments='{"url": "https://b.example"}')]

    for events in (two_calls, elsewhere, [Event(0, "malformed", "x")]):
        with pytest.raises(TrainingError):
            sampled_from_log(FRAMING, TASK.question, events)


def test_pages_are_cut_to_the_tokens_that_there_is_room_for():
    engine = Script(WAY)

    attempt(engine)

    shown = engine.asked[2][0][len(engine.asked[1][0]) + len(WAY[1]) :]
    assert len(shown) == FRAMING.page_tokens + 2
    assert shown[0] == TOKENIZER.mark(RESULT)
