"""Every fault of an endpoint, alone and together: the run ends with the same questions, and the accounts agree."""

from __future__ import annotations

import pytest
from tests.pipeline.llm_runs import accepted, carried_out, configured, given_up, practice, table

from datagen.pipeline.calling import open_ledger
from datagen.practice.knobs import Fault, Knobs

pytestmark = pytest.mark.pipeline
PRESSURE = Knobs.each(0.3 / len(Fault), *Fault, retry_after=0.02)
KNOBS = {fault.value: Knobs.each(0.2, fault, retry_after=0.02) for fault in Fault} | {"all together": PRESSURE}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, small_web):
    """The run against an endpoint without faults."""
    with practice() as server:
        return carried_out(configured(tmp_path_factory.mktemp("llm"), small_web, server.url))


def test_a_run_without_faults_accepts_questions_of_both_recipes_and_says_what_they_cost(undisturbed):
    rows = table(undisturbed, "questions")

    assert {row["recipe"] for row in rows} == {"infoseek", "duetqa"}
    assert given_up(undisturbed) == {}
    for row in rows:
        assert any(model.startswith("solver=practice-m1") for model in row["lineage"]["models"])
        assert any(prompt.startswith("solver@") for prompt in row["lineage"]["prompts"])
        assert row["spend"]["input_tokens"] > 0
        assert row["spend"]["cost_usd"] > 0


@pytest.mark.parametrize("name", sorted(KNOBS))
def test_a_faulty_endpoint_costs_only_the_records_whose_tries_were_exhausted(name, undisturbed, tmp_path, small_web):
    with practice(KNOBS[name]) as server:
        run = carried_out(configured(tmp_path, small_web, server.url))
        billed = server.ledger()

    lost = given_up(run)
    expected = {candidate: id_ for candidate, id_ in accepted(undisturbed).items() if candidate not in lost}
    # A question that repeated a lost one is no repetition any more.
    returned = {row["candidate"] for row in table(undisturbed, "rejects") if row["gate"] == "duplicates"}
    found = {candidate: id_ for candidate, id_ in accepted(run).items() if candidate not in returned}
    assert found == expected
    assert sum(billed["faults"].values()) > 0

    paid = open_ledger(run.directory).totals()
    assert paid.calls + paid.judge_calls == billed["totals"]["replies"]
    assert (paid.input_tokens or 0) + (paid.judge_input_tokens or 0) == billed["totals"]["input_tokens"]
    assert (paid.output_tokens or 0) + (paid.judge_output_tokens or 0) == billed["totals"]["output_tokens"]
    assert billed["answered_twice"] == 0
