"""A certified question in a model's words: taken where it reads back or is judged the same, and otherwise left."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.practice_league import Script, says, voice
from tests.unit.test_synthesis_recipes import CATALOGUE, GRAPH, needed_pair

from datagen.agents.llm.judge import LlmJudge
from datagen.agents.llm.writer import LlmRewriter
from datagen.errors import UnusableReplyError
from datagen.language.parse import Parser
from datagen.language.verbalise import Verbaliser
from datagen.synthesis.rewording import reworded
from datagen.synthesis.settings import Workbench
from datagen.synthesis.uncertified import answer_said

QUERY = needed_pair()
WRITTEN = [Verbaliser(CATALOGUE).write(QUERY, random.Random(i)) for i in range(20)]
QUESTION = WRITTEN[0]
OTHER = next(words for words in WRITTEN if words != QUESTION)
FREE_WORDS = "Tell me, please: " + QUESTION
HIDDEN = ("Clubdton",)
FALLBACK = (QUESTION, "grammar")


def table(drafts, same=()):
    lines = [says(json.dumps({"question": words})) for words in drafts]
    verdicts = [says(json.dumps({"reason": "r", "same": verdict})) for verdict in same]
    bench = Workbench(
        web=None, graph=GRAPH, catalogue=CATALOGUE, verbaliser=Verbaliser(CATALOGUE), parser=Parser(CATALOGUE)
    )
    rewriter, judge = Script(lines), Script(verdicts)
    bench = replace(
        bench, rewriter=LlmRewriter(voice(rewriter, "writer")), judge=LlmJudge(voice(judge, "judge")) if same else None
    )
    return bench, rewriter, judge


def outcome(drafts, same=(), hidden=HIDDEN):
    bench, rewriter, judge = table(drafts, same)
    return reworded(bench, QUESTION, QUERY, hidden, random.Random(1)), len(rewriter.requests), len(judge.requests)


def test_words_that_read_back_to_the_formula_are_taken():
    assert outcome([OTHER]) == ((OTHER, "parse_back"), 1, 0)


def test_words_that_two_judgements_call_the_same_are_taken():
    assert outcome([FREE_WORDS], (True, True)) == ((FREE_WORDS, "entailment"), 1, 2)


@pytest.mark.parametrize("verdicts", [(False,) * 3, (True, False) * 3])
def test_the_grammars_words_stay_when_no_draft_holds(verdicts):
    assert outcome([FREE_WORDS] * 3, verdicts)[0] == FALLBACK


def test_drafts_are_sampled_with_seeds_of_their_own():
    bench, rewriter, _ = table([FREE_WORDS] * 3)
    reworded(bench, QUESTION, QUERY, HIDDEN, random.Random(1))

    assert len({request.sampling.seed for request in rewriter.requests}) == 3
    assert len({request.messages for request in rewriter.requests}) == 1


def test_a_draft_that_names_what_is_hidden_is_never_judged():
    assert outcome([FREE_WORDS + " (Clubdton)"] * 3, (True,)) == (FALLBACK, 3, 0)


@pytest.mark.parametrize(("old", "new"), [("Townbville", "Townaville"), ("1", "2"), ("?", " in 1999?")])
def test_a_judge_is_not_asked_about_other_names_and_figures(old, new):
    changed = FREE_WORDS.replace(old, new)
    assert changed != FREE_WORDS
    assert outcome([changed] * 3, (True,)) == (FALLBACK, 3, 0)


def test_a_writer_that_never_replies_in_form_ends_the_record():
    bench, rewriter, _ = table([])
    rewriter.lines.extend([says("no")] * 3)

    with pytest.raises(UnusableReplyError):
        reworded(bench, QUESTION, QUERY, HIDDEN, random.Random(1))


@given(st.text(max_size=60))
def test_nothing_that_a_model_writes_is_taken_without_a_check(words):
    taken = outcome(["Some words: " + words] * 3)[0]

    assert taken == FALLBACK


@pytest.mark.parametrize(
    ("words", "kind"),
    [("12 May 2016", "date"), ("1969", "date"), ("4,812", "number"), ("4812", "number"), ("green and white", "text")],
)
def test_an_answer_in_words_is_graded_by_what_it_can_be_read_as(words, kind):
    assert answer_said(words, replace(QUERY, ask="~said of it")).type == kind
    assert answer_said(words, QUERY).type == "entity"
