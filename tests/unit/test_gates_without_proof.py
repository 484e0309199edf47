"""What stands in for a proof where there is none: rival search, gold pages, guessers with seeds, and a judge that may fail."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.drafts import (
    CountingGuesser,
    FakeWeb,
    FixedGuesser,
    FixedJudge,
    FixedReader,
    FixedSeeker,
    FixedSolver,
    a_page,
    certificate,
    context,
    draft,
    evidence,
    hit,
    verdict,
)

from datagen.errors import ConfigError, RetriesExhaustedError
from datagen.knowledge.formula import Edge, EntityRef, Match, Node, Query
from datagen.records.page import Link
from datagen.records.question import Answer, Hop
from datagen.records.schema import ATTEMPT, CLOSED_BOOK, HOP, LINEAGE, ORACLE, SPEND
from datagen.verification.excerpts import excerpt
from datagen.verification.funnel import Accepted, run_gates, standard_gates
from datagen.verification.grading import grade
from datagen.verification.rows import to_question_row

HOPS = (
    Hop("Harlan Rovers", "coach", "Ilse Marn", "f", "https://b.test/page/1", "b.test", "news", "2025-06-01", "2025-03-01",
        "Ilse Marn coached them"),
    Hop("Hill End", "~was drawn up by", "Oda Quill", "f", "https://c.test/page/2", "c.test", "list", "2025-02-01", None,
        "Hill End was drawn up by Oda Quill"),
)  # fmt: skip
FREE_ROOT = Node(
    "club",
    (
        Match("coach", EntityRef("https://a.test/person/9", "Ilse Marn"), as_of="2025-03-01"),
        Edge("~has its home at", Node("~arena", (Match("~was drawn up by", EntityRef("", "Oda Quill")),))),
    ),
)
ACCEPTED = ("accepted", "ok")


def unproved(**changes):
    return draft(certificate=None, query=Query(FREE_ROOT), hops=HOPS, **changes)


def outcome_of(faulty, where):
    outcome = run_gates(faulty, standard_gates(), where)
    assert isinstance(outcome, Accepted)
    return outcome


def test_a_draft_without_a_certificate_passes_once_nobody_found_a_rival_and_the_row_says_how_often():
    seeker = FixedSeeker()

    outcome = outcome_of(unproved(), context(rival_seekers=(seeker,)))
    row = to_question_row(outcome.draft, outcome.verdicts, {})

    assert seeker.tried == [0, 1, 2]
    assert (row["certificate"], row["rivals_tried"]) == (None, 3)
    assert {v.gate for v in outcome.verdicts if v.reason == "uncertified"} == {"unique", "necessity"}
    assert outcome.draft.spend["visits"] == 3 * 3


def test_a_rival_that_one_of_many_searches_finds_is_caught_by_the_rivals_gate():
    seekers = (FixedSeeker(), FixedSeeker({1: "Quell Town"}))

    assert verdict(unproved(), context(rival_seekers=seekers)) == ("rivals", "rival_found")
    assert [seeker.tried for seeker in seekers] == [[0, 1], [0, 1]]


def test_the_key_in_other_words_is_no_rival():
    by_words = FixedSeeker({0: "the harlan rovers", 1: "The Rovers"})
    by_judge = FixedSeeker({2: "Harlan Rovers F.C."})
    judge = FixedJudge(same=("Harlan Rovers F.C.",))

    assert verdict(unproved(), context(rival_seekers=(by_words,))) == ACCEPTED
    assert verdict(unproved(), context(rival_seekers=(by_judge,))) == ("rivals", "rival_found")
    assert verdict(unproved(), context(rival_seekers=(by_judge,), judge=judge)) == ACCEPTED


@pytest.mark.parametrize("failure", ["parse", "budget"])
def test_searches_that_did_not_come_to_an_end_do_not_stand_in_for_a_proof(failure):
    assert verdict(unproved(), context(rival_seekers=(FixedSeeker(failure=failure),))) == (
        "rivals",
        "rival_search_failed",
    )


def test_without_a_proof_and_without_a_seeker_a_draft_ends_before_anything_is_spent_on_it():
    outcome = run_gates(unproved(), standard_gates(), context())

    assert (outcome.gate, outcome.reason) == ("unique", "no_proof_and_no_rival_search")
    assert outcome.spend == {}


def test_a_certificate_makes_the_search_for_rivals_needless():
    seeker = FixedSeeker({0: "Quell Town"})

    outcome = outcome_of(draft(), context(rival_seekers=(seeker,)))

    assert seeker.tried == []
    assert to_question_row(outcome.draft, outcome.verdicts, {})["rivals_tried"] is None


def test_a_hop_that_speaks_of_a_later_day_than_its_page_is_caught_by_the_dates_gate():
    seekers = {"rival_seekers": (FixedSeeker(),)}
    early = unproved(question_raw="")
    early = replace(early, hops=(replace(HOPS[0], published_at="2025-02-28"), HOPS[1]))
    undated = replace(early, hops=(replace(HOPS[0], published_at=None), HOPS[1]))

    assert verdict(early, context(**seekers)) == ("dates", "stale_date")
    assert verdict(undated, context(**seekers)) == ("dates", "undated_evidence")


def test_hops_of_one_host_are_caught_by_the_sources_gate():
    faulty = replace(unproved(), hops=tuple(replace(hop, host="b.test") for hop in HOPS))

    assert verdict(faulty, context(rival_seekers=(FixedSeeker(),))) == ("sources", "few_hosts")


def test_a_clue_with_a_relation_in_free_words_is_searched_for_in_those_words():
    web = FakeWeb({"has its home at arena was drawn up by Oda Quill": [hit()]})

    assert verdict(unproved(), context(web=web, rival_seekers=(FixedSeeker(),))) == ("shortcut", "clue_as_query")


def test_an_answer_that_no_page_is_about_needs_no_key_unless_a_proof_is_about_it():
    nameless = Answer("Harlan Rovers", "entity", "Harlan Rovers", entity_type="~side")
    where = context(rival_seekers=(FixedSeeker(),))

    assert verdict(unproved(answer=nameless), where) == ACCEPTED
    assert verdict(draft(answer=nameless), where) == ("unique", "other_answer")


def test_a_value_asked_for_in_free_words_may_be_of_any_kind():
    asked = replace(unproved(), query=Query(FREE_ROOT, ask="~was set up in"), answer=Answer("1901", "date", "1901"))
    where = context(rival_seekers=(FixedSeeker(),), solvers=(FixedSolver("one", "1901"),))

    assert verdict(asked, where) == ACCEPTED


# ── closed book ──


def test_one_lucky_sample_of_one_of_many_models_drops_a_question_and_later_guessers_are_not_asked():
    lucky = CountingGuesser({"m1": ("Quell Town", "Ashby", None), "m2": ("Ashby", None, "harlan rovers")})
    later = CountingGuesser({"m3": ("Ashby",) * 4})

    outcome = run_gates(draft(), standard_gates(), context(guessers=(lucky, later)))

    assert (outcome.gate, outcome.reason) == ("prior", "guessed_without_search")
    assert [(r.guesser, r.samples, r.hits) for r in outcome.draft.closed_book] == [("m1", 3, 0), ("m2", 3, 1)]
    assert later.asked == []
    assert outcome.draft.guesses == ("Quell Town", "Ashby", "harlan rovers")


def test_the_audit_draws_other_samples_and_stops_nothing():
    guesser = CountingGuesser({"m1": ("Ashby", "Ashby", "Quell Town", "Harlan Rovers", None)})
    settings = replace(context().settings, closed_book_audit=2)

    outcome = outcome_of(draft(), context(guessers=(guesser,), settings=settings))
    row = to_question_row(outcome.draft, outcome.verdicts, {})

    assert guesser.asked == [(0, 3), (3, 2)]
    assert row["closed_book"] == [
        {
            "guesser": "m1",
            "answers": ["Ashby", "Quell Town"],
            "samples": 3,
            "hits": 0,
            "audit_samples": 2,
            "audit_hits": 1,
        }
    ]


def test_a_rejected_draft_is_not_audited():
    guesser = CountingGuesser({"m1": ("Ashby",) * 4})

    assert verdict(draft(), context(guessers=(guesser,), solvers=(FixedSolver("one", None),)))[0] == "agreement"
    assert guesser.asked == [(0, 3)]


def test_a_guesser_that_does_not_draw_is_audited_by_its_next_likeliest_answer():
    guesser = FixedGuesser(guesses=("Ashby", "Quell Town", "Orlen City", "Harlan Rovers"))

    record = outcome_of(draft(), context(guessers=(guesser,))).draft.closed_book[0]

    assert (record.samples, record.audit_samples, record.audit_hits) == (3, 1, 1)


def test_the_judge_sees_only_guesses_that_share_a_telling_word_with_the_key():
    judge = FixedJudge(same=("Harlan Rovers of Veltrin",))
    guesser = FixedGuesser(guesses=("Ashby United", "Harlan Rovers of Veltrin"))

    assert verdict(draft(), context(guessers=(guesser,))) == ACCEPTED
    assert verdict(draft(), context(guessers=(guesser,), judge=judge)) == ("prior", "guessed_without_search")
    assert judge.asked == ["Harlan Rovers of Veltrin"]


# ── gold pages among distractors ──

CLUE_PAGES = [a_page(e.url, f"Before. {e.quote} {e.clue}. After.") for e in certificate().evidence]


def oracle_context(reader, **changes):
    settings = replace(context().settings, oracle_attempts=3, oracle_distractors=2)
    wrong = [a_page(f"https://d.test/{n}", f"Quell Town plays here, {n}.") for n in range(4)]
    web = FakeWeb({"": [hit(p.url, "Quell Town") for p in wrong]}, [*CLUE_PAGES, *wrong])
    return context(**{"web": web, "settings": settings, "open_book": reader, **changes})


def test_a_question_that_its_own_pages_do_not_answer_every_time_is_caught_by_the_oracle_gate():
    sound, unsure, mute = FixedReader(), FixedReader(("Harlan Rovers", "Quell Town", "")), FixedReader((None,))

    assert verdict(draft(), oracle_context(sound)) == ACCEPTED
    assert verdict(draft(), oracle_context(unsure)) == ("oracle", "wrong_from_gold_pages")
    assert len(unsure.shown) == 2
    assert verdict(draft(), oracle_context(mute)) == ("oracle", "wrong_from_gold_pages")


def test_the_reader_sees_every_gold_page_and_hard_distractors_in_an_order_that_changes():
    reader = FixedReader()

    row_of = outcome_of(draft(), oracle_context(reader))
    orders = [[page.url for page in shown] for shown in reader.shown]

    assert {frozenset(order) for order in orders} == {
        frozenset([e.url for e in certificate().evidence] + ["https://d.test/0", "https://d.test/1"])
    }
    assert len({tuple(order) for order in orders}) > 1
    assert to_question_row(row_of.draft, row_of.verdicts, {})["oracle"] == {
        "attempts": 3, "right": 3, "distractors": 2, "answers": ["Harlan Rovers"] * 3,
    }  # fmt: skip


def test_the_same_pages_come_in_the_same_order_for_the_same_question():
    first, second = FixedReader(), FixedReader()
    for reader in (first, second):
        outcome_of(draft(), oracle_context(reader))

    assert first.shown == second.shown


def test_the_page_that_states_the_asked_value_is_gold_though_no_clue_rests_on_it():
    root = a_page("https://a.test/club/1", "Harlan Rovers. Founded: 3 March 1901.")
    reader = FixedReader(("1901-03-03",) * 3)
    where = oracle_context(reader, solvers=(FixedSolver("one", "3 March 1901"),))
    where.web.pages[root.url] = root
    asks = draft(query=Query(draft().query.root, ask="founded"),
                 answer=Answer("3 March 1901", "date", "1901-03-03"))  # fmt: skip

    assert verdict(asks, where) == ACCEPTED
    assert root.url in {page.url for page in reader.shown[0]}


def test_a_page_that_nobody_trusts_is_not_gold_for_the_asked_value():
    root = a_page("https://a.test/club/1", "A club.")
    root = replace(root, title="Harlan Rovers")
    rumour = a_page("https://e.test/forum", "Harlan Rovers were founded in 1901, I guess.")
    other = a_page("https://e.test/other", "Quell Town were founded in 1901.")
    news = a_page("https://e.test/news", "Quell Town are older.\nHarlan Rovers were founded in 1901.")
    reader = FixedReader(("1901",) * 3)
    where = oracle_context(reader, solvers=(FixedSolver("one", "1901"),))
    where.web.pages |= {page.url: page for page in (root, rumour, other, news)}
    found = [hit(page.url, page.title) for page in (rumour, other, news)]
    where.web.hits = {"Harlan Rovers founded": [replace(found[0], source_kind="forum"), *found[1:]], **where.web.hits}
    asks = draft(query=Query(draft().query.root, ask="founded"), answer=Answer("1901", "date", "1901"))

    assert verdict(asks, where) == ACCEPTED
    assert {news.url} == {page.url for page in reader.shown[0]} & {root.url, rumour.url, other.url, news.url}


def test_gold_pages_that_cannot_be_read_end_the_question():
    assert verdict(draft(), oracle_context(FixedReader(), web=FakeWeb())) == ("oracle", "no_gold_pages")


def test_hops_are_the_gold_pages_of_a_draft_without_a_certificate():
    pages = [a_page(hop.url, f"{hop.quote}.") for hop in HOPS]
    reader = FixedReader()

    where = oracle_context(reader, web=FakeWeb(pages=pages), rival_seekers=(FixedSeeker(),))

    assert verdict(unproved(), where) == ACCEPTED
    assert {page.url for page in reader.shown[0]} == {hop.url for hop in HOPS}


def test_an_oracle_check_without_a_reader_is_refused_and_one_that_is_off_reads_nothing():
    with pytest.raises(ConfigError, match="oracle_attempts"):
        verdict(draft(), oracle_context(None))

    off = outcome_of(draft(), context(open_book=FixedReader()))
    assert to_question_row(off.draft, off.verdicts, {})["oracle"] is None


@given(st.data())
def test_an_excerpt_keeps_every_quote_whole_and_every_link_on_its_words(data):
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    text = " ".join("".join(rng.choices("abcdefg", k=rng.randint(1, 9))) for _ in range(rng.randint(1, 400)))
    starts = data.draw(st.lists(st.integers(0, len(text) - 1), max_size=4))
    spans = [(start, min(len(text), start + rng.randint(1, 300))) for start in starts]
    places = [(n, min(len(text), n + 6)) for n in range(0, len(text), 50)]
    page = a_page("https://a.test/x", text, tuple(Link(a, b, "https://a.test/y", text[a:b]) for a, b in places))

    cut = excerpt(page, spans, 500)

    assert all(text[a:b] in cut.text for a, b in spans)
    assert all(cut.text[k.start : k.end] == k.anchor for k in cut.links)
    assert len(cut.text) <= max(500, sum(b - a for a, b in spans)) + 4 * (len(spans) + 2)
    assert all(piece in text for piece in cut.text.split("\n…\n"))


def test_every_nested_field_of_a_row_is_published():
    row_of = outcome_of(draft(hops=HOPS), oracle_context(FixedReader()))
    row = to_question_row(row_of.draft, row_of.verdicts, dict.fromkeys(LINEAGE))

    assert row["spend"].keys() == SPEND.keys()
    assert row["lineage"].keys() == LINEAGE.keys()
    assert row["oracle"].keys() == ORACLE.keys()
    assert {frozenset(a) for a in row["attempts"]} == {frozenset(ATTEMPT)}
    assert {frozenset(b) for b in row["closed_book"]} == {frozenset(CLOSED_BOOK)}
    assert {frozenset(h) for h in row["hops"]} == {frozenset(HOP)}


# ── comparing ──


def test_an_answer_in_other_words_is_put_to_the_judge_and_the_attempt_says_so():
    judge = FixedJudge(same=("the side from Harlan",))
    solvers = (FixedSolver("one"), FixedSolver("two", "the side from Harlan"))

    outcome = outcome_of(draft(), context(solvers=solvers, judge=judge))

    assert [(a.correct, a.judged) for a in outcome.draft.attempts] == [(True, False), (True, True)]
    assert judge.asked == ["the side from Harlan"]


def test_a_judge_that_fails_is_never_taken_for_a_no():
    broken = FixedJudge(fault=RetriesExhaustedError("the endpoint did not answer"))

    with pytest.raises(RetriesExhaustedError):
        verdict(draft(), context(solvers=(FixedSolver("one", "some side"),), judge=broken))


@pytest.mark.parametrize(
    ("key", "given_answer", "asked"),
    [
        (Answer("1901", "date", "1901"), "1902", False),
        (Answer("1901", "date", "1901"), "the year the old queen died", True),
        (Answer("5,000 seats", "number", "5,000 seats", unit="seats"), "6,000 seats", False),
        (Answer("Harlan Rovers", "entity", "Harlan Rovers"), "", False),
        (Answer("Harlan Rovers", "entity", "Harlan Rovers"), None, False),
        (Answer("Harlan Rovers", "entity", "Harlan Rovers"), "Ashby United", True),
    ],
)
def test_values_and_silence_are_decided_without_the_judge(key, given_answer, asked):
    judge = FixedJudge()

    assert not grade("Which?", key, given_answer, None, judge).correct
    assert bool(judge.asked) is asked


def test_keys_on_both_sides_are_decided_without_the_judge():
    judge = FixedJudge(same=("Harlan Rovers",))
    key = Answer("Harlan Rovers", "entity", "Harlan Rovers", key="https://a.test/club/1")

    assert not grade("Which?", key, "Harlan Rovers", "https://a.test/club/2", judge).correct
    assert judge.asked == []


def test_evidence_of_one_clue_on_many_pages_gives_one_gold_page():
    twice = certificate(evidence=(*certificate().evidence, evidence(0, "z.test")))
    reader = FixedReader()

    outcome_of(draft(certificate=twice), oracle_context(reader))

    assert "https://z.test/page/0" not in {page.url for page in reader.shown[0]}
