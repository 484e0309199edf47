"""A checkpoint's card says what it is, how good, how sure, and what it is not."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard as HubCard

from datagen.training.model_card import ModelCard, render_model_card, write_model_card
from datagen.training.recording import EvaluationRecord


def measured(policy: str, mode: str, right: int, *, step: int, n: int = 200) -> EvaluationRecord:
    per_question = {f"q{number}": float(number < right) for number in range(n)}
    return EvaluationRecord(policy, "held-out", mode, n, right, per_question, phase=policy, step=step, searches=2.0)


RUN = (
    measured("sft", "greedy", 50, step=300),
    measured("rl", "greedy", 90, step=50),
    measured("rl", "greedy", 140, step=100),
    measured("rl", "no_search", 2, step=100),
)
CARD = ModelCard(
    name="demo",
    parameters=420_000,
    stages=("Imitation of 2,000 attempts, 300 updates.", "RAPO, 100 batches of 24 questions."),
    lineage={"release": "out/demo/release", "snapshot": "sn1-5f | x"},
    seeds=(7,),
    evaluations=RUN,
    framing="compact",
)


def test_the_front_matter_is_one_that_the_hub_reads():
    data = HubCard(render_model_card(CARD)).data

    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "transformers", "text-generation")
    assert "trained-from-scratch" in data.tags
    assert data.base_model is None
    assert [(one.dataset_name, one.metric_type, one.metric_value) for one in data.eval_results] == [
        ("held-out", "accuracy", 70.0),
        ("held-out", "accuracy", 1.0),
    ]
    assert "n = 200, 95 % interval 63.3 to 75.9" in data.eval_results[0].metric_name


def test_adapters_name_their_base_and_load_with_peft():
    card = ModelCard(
        name="lora", base_model="Qwen/Qwen3-4B", adapters=True, datasets=("me/questions",), evaluations=RUN
    )
    text = render_model_card(card)
    data = HubCard(text).data

    assert (data.base_model, data.library_name, data.datasets) == ("Qwen/Qwen3-4B", "peft", ["me/questions"])
    assert "AutoPeftModelForCausalLM.from_pretrained" in text
    assert "trained-from-scratch" not in data.tags


def test_a_policy_that_began_with_another_run_is_not_called_trained_from_scratch():
    text = render_model_card(ModelCard(name="second", begun_from="out/train/first/model"))

    assert "trained-from-scratch" not in HubCard(text).data.tags
    assert "Trained further from out/train/first/model." in text


def test_the_card_says_how_sure_its_figures_are():
    text = render_model_card(CARD)

    assert "rl answers 70.0 % of 200 questions of held-out (greedy, 95 % interval 63.3 % to 75.9 %); sft 25.0 %" in text
    assert "| rl | held-out | greedy | 140 of 200 | 70.0 % | 63.3 to 75.9 | 2.0 |  |  |" in text
    assert "| rl against sft | held-out | greedy | 200 | +45.0" in text
    assert "| McNemar, exact | p < 0.001 |" in text
    assert "90 of 200" not in text  # an update on the way is not what is in the folder


def test_a_start_weakened_on_purpose_stands_before_the_first_figure():
    sentence = "The start was weakened on purpose: its demonstrations stop early."
    text = render_model_card(ModelCard(name="demo", evaluations=RUN, weakened_start=sentence))
    body = text.split("---\n", 2)[2]

    assert body.index(sentence) < body.index("70.0 %")


def test_controls_are_told_apart_from_the_policy():
    controls = {"more SFT": (RUN[0], measured("sft+", "greedy", 60, step=400))}
    text = render_model_card(ModelCard(name="demo", evaluations=RUN, controls=controls))

    assert "| sft+ (more SFT) | held-out | greedy | 60 of 200 |" in text
    assert "| rl (demo) against sft+ (more SFT) |" in text
    assert text.count("| sft | held-out | greedy |") == 1  # the common start, once


def test_what_is_not_known_is_said():
    text = render_model_card(ModelCard(name="bare", evaluations=[EvaluationRecord("rl", "test", "greedy", 0, 0)]))

    assert HubCard(text).data.eval_results is None
    assert "No attempt of rl on test could be graded." in text
    assert "| seeds | not recorded |" in text
    assert "Not recorded." in text
    assert "It was not measured." in render_model_card(ModelCard(name="bare"))


def test_one_seed_is_named_as_a_limit():
    assert "One seed was trained" in render_model_card(CARD)
    assert "One seed was trained" not in render_model_card(ModelCard(name="demo", seeds=(1, 2, 3, 4, 5)))


def test_the_card_says_how_to_load_and_how_to_evaluate(tmp_path):
    card = ModelCard(
        name="demo", load_path="out/train/demo/model", snapshot="out/demo/snapshot", questions="out/demo/release"
    )

    text = write_model_card(tmp_path, card).read_text()

    assert 'AutoModelForCausalLM.from_pretrained("out/train/demo/model")' in text
    assert "datagen evaluate out/train/demo/model --on out/demo/snapshot --questions out/demo/release" in text


def test_text_from_outside_breaks_neither_tables_nor_front_matter():
    nasty = 'two: "words"\n- x | y'
    card = ModelCard(name=nasty, lineage={"note": nasty}, evaluations=[EvaluationRecord("a|b", nasty, "greedy", 4, 2)])
    text = render_model_card(card)

    assert HubCard(text).data.eval_results[0].dataset_name == nasty
    assert all(line.count(" | ") == 8 for line in text.splitlines() if line.startswith("| a\\|b"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"datasets": ("out/demo/release",)}, "out/demo/release: the front matter takes names on the Hub"),
        ({"base_model": "./local"}, "names on the Hub"),
        ({"adapters": True}, "adapters are no model without the base model"),
    ],
)
def test_what_the_hub_would_refuse_is_refused_here(fields, message):
    with pytest.raises(ValueError, match=message):
        ModelCard(name="demo", **fields)
