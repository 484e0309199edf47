"""Rows without a certificate, and rows that models made: counted, shown and checked as what they are."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from datasets import load_dataset
from tests.unit.drafts import FixedSeeker, a_page, context
from tests.unit.test_dataset_release import META, a_reject, a_row
from tests.unit.test_gates_without_proof import HOPS, unproved

from datagen.clients.billing import Bill
from datagen.clients.chat import Usage
from datagen.dataset.card import choose_example, measured
from datagen.dataset.release import write_release
from datagen.dataset.spending import closed_book, spending
from datagen.dataset.statistics import describe
from datagen.dataset.verify import RowChecker
from datagen.records.schema import arrow_schema
from datagen.verification.funnel import run_gates, standard_gates
from datagen.verification.rows import to_question_row, to_reject_row

GATES = tuple(gate.name for gate in standard_gates())


def a_bill(cost: float | None = 0.0004, *, judged: bool = True) -> Bill:
    bill = Bill()
    bill.charge("solver", "m-large", Usage(1000, 50), cost)
    bill.charge("solver", "m-small", Usage(500, 30), cost)
    if judged:
        bill.charge("judge", "m-judge", Usage(80, 5), cost)
    bill.corrections = 1
    bill.prompts["solver@0123456789ab"] = None
    return bill


def an_uncertified_row(bill: Bill | None = None, **changes) -> dict:
    outcome = run_gates(unproved(**changes), standard_gates(), context(rival_seekers=(FixedSeeker(),)))
    return to_question_row(outcome.draft, outcome.verdicts, {"seed": 7}, bill=bill or a_bill())


def a_release(folder, rows, rejects=()):
    questions = pa.Table.from_pylist(rows, schema=arrow_schema("questions"))
    stopped = pa.Table.from_pylist(list(rejects), schema=arrow_schema("rejects"))
    return write_release(questions, stopped, folder, META, gate_order=GATES)


def test_a_row_carries_its_own_bill_models_and_prompts():
    row = an_uncertified_row(wording="model")

    assert row["spend"] | {"searches": 0, "visits": 0} == {
        "searches": 0, "visits": 0, "calls": 2, "input_tokens": 1500, "output_tokens": 80, "cost_usd": 0.0008,
        "judge_calls": 1, "judge_input_tokens": 80, "judge_output_tokens": 5, "judge_cost_usd": 0.0004, "corrections": 1,
    }  # fmt: skip
    assert row["lineage"]["models"] == ["solver=m-large", "solver=m-small", "judge=m-judge"]
    assert row["lineage"]["prompts"] == ["solver@0123456789ab"]
    assert row["wording"] == "model"


def test_a_reject_carries_what_it_cost():
    reject = to_reject_row(run_gates(unproved(), standard_gates(), context()), {"seed": 7}, bill=a_bill(None))

    assert (reject["spend"]["calls"], reject["spend"]["cost_usd"]) == (2, None)
    assert reject["lineage"]["models"][0] == "solver=m-large"


def test_a_release_may_mix_rows_with_and_without_a_certificate(tmp_path):
    a_release(tmp_path / "r", [*(a_row(i) for i in range(30)), an_uncertified_row()], [a_reject(99, "endpoint")])

    card = (tmp_path / "r" / "README.md").read_text()
    statistics = json.loads((tmp_path / "r" / "reports" / "statistics.json").read_text())
    loaded = load_dataset(str(tmp_path / "r"), cache_dir=str(tmp_path / "cache"))
    rows = [row for part in loaded.values() for row in part]

    assert [row["rivals_tried"] for row in rows if row["certificate"] is None] == [3]
    assert statistics["certified"] == {"certified": 30, "uncertified": 1}
    assert statistics["rivals_tried"] == {"3": 1}
    assert statistics["stopped_by_gate"] == {"endpoint": 1}
    assert statistics["models"] == {"judge=m-judge": 1, "solver=m-large": 1, "solver=m-small": 1}
    assert "1 of them have no certificate" in card
    assert "solver@0123456789ab" in card
    assert "endpoint" in card


def test_a_release_of_nothing_but_rows_without_a_certificate_is_whole(tmp_path):
    a_release(tmp_path / "r", [an_uncertified_row()])

    card = (tmp_path / "r" / "README.md").read_text()

    assert "3 searches for another answer found none" in card
    assert "Hill End was drawn up by Oda Quill" in card
    assert len(list((tmp_path / "r" / "plots").iterdir())) == 4


def test_the_record_browser_shows_hops_spend_and_lineage(tmp_path):
    a_release(tmp_path / "r", [an_uncertified_row()])

    html = (tmp_path / "r" / "browser.html").read_text()
    data = json.loads(html.split('type="application/json">')[1].split("</script>")[0])

    shown = data["rows"][0]
    assert shown["certificate"] is None
    assert [hop["quote"] for hop in shown["hops"]] == [hop.quote for hop in HOPS]
    assert shown["spend"]["judge_calls"] == 1
    assert shown["lineage"]["prompts"] == ["solver@0123456789ab"]


def test_an_example_with_a_proof_is_preferred_to_one_without():
    bare = an_uncertified_row()

    assert choose_example([bare, a_row(1)])["id"] == a_row(1)["id"]
    assert choose_example([bare]) is bare


def test_statistics_on_proofs_leave_out_rows_that_have_none():
    mixed, pure = describe([a_row(1), an_uncertified_row()]), describe([a_row(1)])

    for key in ("median_sizes", "without_one_clue", "excluded_by"):
        assert mixed[key] == pure[key]
    assert mixed["shares"]["dispersion"] == pure["shares"]["dispersion"]
    assert mixed["shares"]["certified"] == 0.5
    assert "dispersion" not in describe([an_uncertified_row()])["shares"]
    assert mixed["hosts"] == {"a.example": 1, "b.test": 1, "c.test": 1}


# ── what it cost ──


def spent(**figures):
    return {"spend": {**Bill().spend(), "searches": 1, "visits": 2, **figures}}


def test_rejects_are_paid_for_by_the_accepted_rows():
    figures = spending(
        [spent(calls=3, input_tokens=300, output_tokens=30, cost_usd=0.03, corrections=1)],
        [spent(calls=1, input_tokens=100, output_tokens=10, cost_usd=0.01)],
    )

    assert figures["total"]["input_tokens"] == 400
    assert figures["per_accepted"]["cost_usd"] == pytest.approx(0.04)
    assert figures["on_rejects"]["calls"] == 1
    assert figures["corrections_per_100_calls"] == 25.0


def test_a_row_that_called_no_model_is_no_gap_and_one_unpriced_call_is():
    priced, idle = spent(calls=1, input_tokens=10, output_tokens=1, cost_usd=0.5), spent()
    unpriced = spent(calls=1, input_tokens=10, output_tokens=1, cost_usd=None)

    assert spending([priced], [idle])["total"]["cost_usd"] == 0.5
    assert spending([priced], [unpriced])["total"]["cost_usd"] is None
    assert spending([priced], [unpriced])["total"]["input_tokens"] == 20
    assert spending([priced], [])["total"]["judge_cost_usd"] is None


def test_what_nobody_measured_is_said_and_never_shown_as_nothing(tmp_path):
    a_release(tmp_path / "r", [an_uncertified_row(bill=a_bill(None, judged=False))])

    card = (tmp_path / "r" / "README.md").read_text()

    assert "| money, USD | not measured | not measured | not measured | not measured |" in card
    assert "| input tokens | 1,500 |" in card
    assert [measured(v) for v in (None, 0, 1500, 0.00012345, 23456.7)] == [
        "not measured", "0", "1,500", "0.0001234", "23,457",
    ]  # fmt: skip


def test_a_run_of_programs_says_that_no_model_was_called(tmp_path):
    a_release(tmp_path / "r", [a_row(1)])

    assert "No model was called." in (tmp_path / "r" / "README.md").read_text()


# ── how lucky a guess is ──


def guessed(**figures):
    record = {"guesser": "m1", "answers": [], "samples": 3, "hits": 0, "audit_samples": 2, "audit_hits": 0}
    return {"closed_book": [record | figures, record | {"guesser": "m2"}]}


def test_guess_rates_are_counted_at_the_gate_and_again_on_what_was_accepted():
    rejects = [
        a_reject(n, gate) for n, gate in enumerate(["grow", "leak", "prior", "agreement", "duplicates", "reply"])
    ]

    figures = closed_book([guessed(audit_hits=1), guessed()], rejects, (*GATES, "duplicates"))

    assert (figures["reached"], figures["hit"], figures["before"]) == (5, 1, 0.2)
    assert (figures["audit_samples"], figures["audit_hits"], figures["after"]) == (8, 1, 0.125)
    assert figures["by_guesser"]["m1"]["after"] == 0.25


def test_no_guess_rate_is_claimed_where_nothing_was_asked():
    figures = closed_book([], [a_reject(1, "grow")], GATES)

    assert (figures["before"], figures["after"]) == (None, None)


# ── verification from outside ──


class Pages:
    """Pages by address."""

    def __init__(self, *pages):
        self.found = {page.url: page for page in pages}

    def find(self, url):
        return self.found.get(url)


def dated(hop, text):
    return replace(a_page(hop.url, text), published_at=hop.published_at)


SAID = [dated(HOPS[0], "It was so: Ilse Marn\n coached them."), dated(HOPS[1], f"{HOPS[1].quote}.")]


def faults(row, *pages):
    return list(RowChecker(None, Pages(*pages), {}).faults(json.loads(json.dumps(row))))


def test_quotes_of_hops_are_found_on_their_pages_however_lines_are_broken():
    assert faults(an_uncertified_row(), *SAID) == []


def test_a_quote_that_its_page_does_not_say_is_a_fault():
    silent = dated(HOPS[1], "Nothing of the sort.")

    assert faults(an_uncertified_row(), SAID[0], silent) == [
        "hop 2: https://c.test/page/2 does not say 'Hill End was drawn up by Oda Quill'."
    ]
    assert faults(an_uncertified_row(), SAID[0]) == ["hop 2: the snapshot has no page https://c.test/page/2."]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rivals_tried": 0}, "nobody searched for rivals"),
        ({"rivals_tried": None}, "nobody searched for rivals"),
        ({"hops": []}, "neither a certificate nor hops"),
        ({"question": "Another one?"}, "its id is not the hash"),
    ],
)
def test_a_row_without_a_certificate_has_to_show_what_stands_in_for_it(changes, sentence):
    found = faults(an_uncertified_row() | changes, *SAID)

    assert len(found) == 1
    assert sentence in found[0]


def test_an_empty_quote_says_nothing():
    row = an_uncertified_row()
    row["hops"][0]["quote"] = " "

    assert len(faults(row, *SAID)) == 1
