"""Each planted fault is caught by its own gate: every cheaper gate lets the faulty draft pass."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.unit.drafts import (
    QUESTION,
    ROOT,
    FakeWeb,
    FixedGuesser,
    FixedSolver,
    certificate,
    context,
    draft,
    hit,
    verdict,
)

from datagen.errors import ConfigError
from datagen.knowledge.formula import Edge, EntityRef, Match, Node, Query, Within
from datagen.records.question import UNBOUNDED, Answer
from datagen.verification.contamination import BenchmarkIndex
from datagen.verification.duplicates import DuplicateIndex, fingerprint, judge_duplicates
from datagen.verification.funnel import Accepted, FunnelCounts, run_gates, standard_gates
from datagen.verification.gate import SourceRule
from datagen.verification.rows import to_question_row, to_reject_row


def test_a_sound_draft_passes_every_gate_and_is_charged_for_its_tool_calls():
    outcome = run_gates(draft(), standard_gates(), context())

    assert isinstance(outcome, Accepted)
    assert [v.gate for v in outcome.verdicts] == [g.name for g in standard_gates()]
    assert outcome.draft.spend == {"searches": 4 + 4 + 4, "visits": 0}
    assert outcome.draft.verifiers == ("top-down", "bottom-up")
    assert outcome.draft.guesses == ("Ashby United", "Quell Town")


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (QUESTION.replace("Ilse Marn", "Ilse Marn of Harlan Rovers"), "answer_in_question"),
        (QUESTION.replace("Ilse Marn", "the Rovers man"), "answer_in_question"),
        (QUESTION.replace("Ilse Marn", "a Harlan man"), "answer_word_in_question"),
        (QUESTION.replace("a stadium", "the stadium Hill End"), "internal_entity_named"),
        (QUESTION.replace("a stadium", "the stadium Hill Ende"), "near_form_of_hidden_name"),
    ],
)
def test_an_answer_in_the_question_is_caught_by_the_leak_gate(question, reason):
    assert verdict(draft(question=question)) == ("leak", reason)


def test_a_year_as_answer_leaks_when_the_question_states_it():
    faulty = draft(
        answer=Answer("1901", "date", "1901"), query=Query(ROOT, ask="founded"), question=QUESTION + " It was in 1901."
    )

    assert verdict(faulty) == ("leak", "answer_in_question")


def test_a_number_that_another_clue_nearly_states_is_caught_by_the_leak_gate():
    seats = Node("stadium", (Within("capacity", "number", 4000.0, 4500.0, "seats"), *ROOT.clues))
    faulty = draft(answer=Answer("4,200 seats", "number", "4,200 seats", unit="seats"), query=Query(seats, "capacity"))

    assert verdict(faulty) == ("leak", "answer_nearly_stated")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answer_set": ("https://a.test/club/1", "https://a.test/club/2")}, "several_answers"),
        ({"rivals": 2}, "possible_rivals"),
        ({"rivals": UNBOUNDED}, "open_class"),
        ({"answer_set": ()}, "no_answer"),
        ({"answer_set": ("https://a.test/club/2",)}, "other_answer"),
        ({"minimal_subset": (1,)}, "few_clues_identify"),
        ({"min_documents": 1}, "one_page_states_all"),
    ],
)
def test_a_second_valid_answer_is_caught_by_the_unique_gate(changes, reason):
    assert verdict(draft(certificate=certificate(**changes))) == ("unique", reason)


def test_a_redundant_clue_is_caught_by_the_necessity_gate():
    faulty = draft(certificate=certificate(necessity=(3, 1, 5, 2)))

    assert verdict(faulty) == ("necessity", "redundant_clue")


@pytest.mark.parametrize(
    ("word", "found", "reason"),
    [
        ("coached on", hit(), "question_as_query"),
        ("coached on", hit("https://d.test/list", "All clubs", "… Harlan Rovers, founded 1901 …"), "question_as_query"),
        ("Which club Match", hit(), "clue_as_query"),
    ],
)
def test_a_shortcut_is_caught_by_the_shortcut_gate(word, found, reason):
    assert verdict(draft(), context(web=FakeWeb({word: [found]}))) == ("shortcut", reason)


def test_a_first_hit_that_does_not_show_the_answer_is_no_shortcut():
    web = FakeWeb({"Which": [hit("https://a.test/town/1", "Veltrin", "Veltrin is a town; Harlan lies beside it")]})

    assert verdict(draft(), context(web=web)) == ("accepted", "ok")


def test_a_literal_answer_is_readable_only_on_a_page_about_the_root():
    asks_year = draft(answer=Answer("1901", "date", "1901"), query=Query(ROOT, ask="founded"))
    about_other = FakeWeb({"coached on": [hit("https://d.test/x", "Quell Town", "founded in 1901")]})
    about_root = FakeWeb({"coached on": [hit("https://d.test/y", "Harlan Rovers - profile", "founded in 1901")]})
    solvers = (FixedSolver("top-down", "1901"),)

    assert verdict(asks_year, context(web=about_other, solvers=solvers)) == ("accepted", "ok")
    assert verdict(asks_year, context(web=about_root, solvers=solvers)) == ("shortcut", "question_as_query")


def test_a_guessable_answer_is_caught_by_the_prior_gate():
    guesser = FixedGuesser(guesses=("Ashby United", "harlan rovers"))

    assert verdict(draft(), context(guessers=(guesser,))) == ("prior", "guessed_without_search")


def test_a_stale_date_is_caught_by_the_dates_gate():
    old = tuple(replace(e, published_at="2025-02-28") for e in certificate().evidence)

    assert verdict(draft(certificate=certificate(evidence=old))) == ("dates", "stale_date")


def test_a_volatile_clue_without_a_day_is_caught_by_the_dates_gate():
    undated = Node("club", (Match("coach", EntityRef("https://a.test/person/9", "Ilse Marn")), *ROOT.clues[2:]))

    assert verdict(draft(query=Query(undated))) == ("dates", "undated_volatile_clue")


def test_undated_evidence_for_a_dated_clue_is_caught_by_the_dates_gate():
    undated = tuple(replace(e, published_at=None) for e in certificate().evidence)

    assert verdict(draft(certificate=certificate(evidence=undated))) == ("dates", "undated_evidence")


def test_nothing_after_the_cutoff_is_caught_by_the_dates_gate_where_the_recipe_wants_it():
    settings = replace(context().settings, cutoff="2025-12-31")

    assert verdict(draft(), context(settings=settings)) == ("dates", "nothing_after_cutoff")
    assert verdict(draft(recipe="infoseek"), context(settings=settings)) == ("accepted", "ok")


def test_a_single_host_is_caught_by_the_sources_gate_and_let_through_when_relaxed():
    one_host = tuple(replace(e, host="b.test", url=f"https://b.test/{e.clue}") for e in certificate().evidence)
    faulty = draft(certificate=certificate(evidence=one_host))
    rule = SourceRule(min_hosts=2, relaxed=True)
    relaxed = context(settings=replace(context().settings, sources={"duetqa": rule}))

    outcome = run_gates(faulty, standard_gates(), relaxed)

    assert verdict(faulty) == ("sources", "few_hosts")
    assert isinstance(outcome, Accepted)
    assert outcome.relaxed_gates == ("sources",)


def test_too_many_encyclopedia_pages_are_caught_by_the_sources_gate():
    kinds = tuple(replace(e, source_kind="encyclopedia") for e in certificate().evidence)
    hops = (replace(draft().hops[0], source_kind="list", url="https://b.test/other"),)

    assert verdict(draft(certificate=certificate(evidence=kinds), hops=hops)) == ("sources", "mostly_encyclopedia")


@pytest.fixture
def benchmark(tmp_path):
    path = tmp_path / "public.jsonl"
    items = [
        {"question": QUESTION.replace("football club", "club").replace("Veltrin", "Orlen"), "answer": "Quell Town"},
        {
            "question": "Which club in Veltrin was coached by Ilse Marn and plays at a ground?",
            "answer": "Harlan Rovers",
        },
    ]
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return path


def test_a_benchmark_item_is_caught_by_the_contamination_gate(benchmark):
    index = BenchmarkIndex.read([benchmark])

    assert verdict(draft(), context(benchmarks=index)) == ("contamination", "benchmark_13gram")


def test_eight_shared_words_and_a_shared_answer_are_caught_by_the_contamination_gate(benchmark):
    index = BenchmarkIndex.read([benchmark])
    eight = draft(
        question="Say which one was coached on 1 March 2025 by Ilse Marn in the end, of all the sides there are?"
    )
    other_words = draft(question="Which club coached by Ilse Marn plays in Veltrin?")

    assert verdict(eight, context(benchmarks=index)) == ("contamination", "benchmark_8gram")
    assert verdict(other_words, context(benchmarks=index)) == ("contamination", "benchmark_answer")
    assert verdict(draft(question="Who was on the water?"), context(benchmarks=index)) == ("accepted", "ok")


@pytest.mark.parametrize("line", ["question,answer", '["a"]', '{"answer": "x"}'])
def test_a_benchmark_file_that_is_not_jsonl_is_refused_with_its_line(tmp_path, line):
    path = tmp_path / "table.csv"
    path.write_text('{"question": "Is this one fine, at least?"}\n' + line + "\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"table\.csv:2"):
        BenchmarkIndex.read([path])


def test_a_missing_benchmark_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        BenchmarkIndex.read([tmp_path / "none.jsonl"])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer("1901", "date", "1901"), "not_what_is_asked"),
        (Answer("Hill End", "entity", "Hill End", key="https://a.test/club/1", entity_type="stadium"),
         "entity_of_another_class"),
        (Answer("…", "entity", "…", key="https://a.test/club/1"), "ungradable_text"),
        (Answer("12 345", "entity", "12 345", key="https://a.test/club/1"), "ungradable_text"),
        (Answer(" ".join(["Long"] * 20), "entity", "Long", key="https://a.test/club/1"), "too_long"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_graded_is_caught_by_the_answer_type_gate(answer, reason):
    assert verdict(draft(answer=answer, hidden_names=())) == ("answer_type", reason)


def test_a_date_that_does_not_exist_and_a_number_in_another_unit_are_caught_by_the_answer_type_gate():
    no_day = draft(query=Query(ROOT, ask="founded"), answer=Answer("31 June 1901", "date", "1901-06-31"))
    kilometres = draft(query=Query(ROOT, ask="capacity"), answer=Answer("9 km", "number", "9 km", unit="km"))

    assert verdict(no_day) == ("answer_type", "canonical_form_does_not_read_back")
    assert verdict(kilometres) == ("answer_type", "another_unit")


@pytest.mark.parametrize(
    ("solver", "reason"),
    [
        (FixedSolver("bottom-up", None), "unsolved_retrieval"),
        (FixedSolver("bottom-up", "Quell Town"), "other_answer"),
        (FixedSolver("bottom-up", calls=1), "too_few_tool_calls"),
    ],
)
def test_solvers_that_disagree_or_hardly_work_are_caught_by_the_agreement_gate(solver, reason):
    assert verdict(draft(), context(solvers=(FixedSolver("top-down"), solver))) == ("agreement", reason)


def test_gates_that_need_a_cast_refuse_to_run_without_one():
    with pytest.raises(ConfigError, match="guesser"):
        verdict(draft(), context(guessers=()))
    with pytest.raises(ConfigError, match="solvers"):
        verdict(draft(), context(solvers=()))


def test_twins_by_words_by_formula_and_nearly_by_words_are_caught_in_candidate_order():
    other_town = Edge("plays_at", Node("stadium", (Match("located_in", EntityRef("https://a.test/town/2", "Orlen")),)))
    same_shape = draft(
        query=Query(Node("club", (ROOT.clues[1], ROOT.clues[0], other_town))), question="Who of all is it, then?"
    )
    other_shape = Query(Node("club", ROOT.clues[:2]))
    long_question = f"{QUESTION[:-1]}, a place that has seen many a good afternoon of the game, rain or shine?"
    first = draft(query=other_shape, question=long_question)
    near = draft(query=Query(Node("club", ROOT.clues[1:])), question=f"So {long_question}")

    marks = [fingerprint(d) for d in (draft(), replace(draft(), question=QUESTION.upper()), same_shape, first, near)]

    assert [v.reason for v in judge_duplicates(marks)] == ["ok", "same_words", "same_formula", "ok", "near_same_words"]


def test_the_same_formula_may_be_allowed_more_than_once():
    index = DuplicateIndex(max_same_formula=2)
    marks = [fingerprint(draft(question=f"Number {i} of some quite other words {i * 7}?")) for i in range(3)]

    assert [index.judge(mark).passed for mark in marks] == [True, True, False]


def test_the_funnel_counts_every_candidate_once_by_recipe_gate_and_reason():
    counts = FunnelCounts()
    for made in (draft(), draft(certificate=certificate(rivals=2)), draft(certificate=None)):
        counts.add(run_gates(made, standard_gates(), context()))

    assert counts.counts == {
        ("duetqa", "accepted", "ok"): 1,
        ("duetqa", "unique", "possible_rivals"): 1,
        ("duetqa", "unique", "no_proof_and_no_rival_search"): 1,
    }
    assert counts.acceptance("duetqa") == pytest.approx(1 / 3)


def test_rows_have_exactly_the_fields_of_their_published_schema():
    import pyarrow as pa

    from datagen.records.schema import TABLES, arrow_schema

    lineage = dict.fromkeys(TABLES["questions"]["lineage"])
    accepted = run_gates(draft(), standard_gates(), context())
    rejected = run_gates(draft(certificate=None), standard_gates(), context())
    assert isinstance(accepted, Accepted)
    assert not isinstance(rejected, Accepted)
    question = to_question_row(accepted.draft, accepted.verdicts, lineage, cutoff="2024-01-01")
    reject = to_reject_row(rejected, lineage)

    assert question.keys() == TABLES["questions"].keys()
    assert reject.keys() == TABLES["rejects"].keys()
    for table, row in (("questions", question), ("rejects", reject)):
        back = pa.Table.from_pylist([row], schema=arrow_schema(table)).to_pylist()[0]
        assert back["lineage"]["candidate"] == 5
        assert back["verdicts"] == row["verdicts"]
    assert question["difficulty"]["vertices"] == 5
    assert reject["gate"] == "unique"
