"""A run's folder says enough about the run for its report and its card."""

from __future__ import annotations

import pytest
from huggingface_hub import ModelCard as HubCard

from datagen import storage
from datagen.config import DatagenConfig
from datagen.errors import RunDirectoryError
from datagen.training.describing import card_of_run, report_of_run
from datagen.training.model_card import render_model_card
from datagen.training.recording import EvaluationRecord, Recorder
from datagen.training.report import write_report

TRAINING = {
    "preface": "The start was weakened on purpose.",
    "sft": {"updates": 5},
    "rl": {"algorithm": "dapo", "questions": 4, "attempts": 8, "stages": [{"name": "first"}, {"name": "second", "algorithm": "rapo"}]},
    "evaluation": {"sets": [{"name": "held-out", "questions": "out/other"}]},
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A folder as a run of three stages leaves it, the last of them not begun."""

    def made(**training):
        config = DatagenConfig.model_validate({"web": {"snapshot": "out/web"}, "training": TRAINING | training})
        storage.write_json(str(tmp_path / "demo" / "config.json"), config.model_dump(mode="json"))
        with Recorder(tmp_path / "demo", tensorboard=False) as recorder:
            for step in range(1, 6):
                recorder.record("sft", step, {"nll": 2.0, "trained_tokens": 100.0})
            recorder.record("rl.first", 1, {"reward": 0.3})
            recorder.evaluation(EvaluationRecord("rl.first", "held-out", "greedy", 40, 30, phase="rl.first", step=1))
        return tmp_path / "demo"

    return made


def test_the_report_of_a_run_takes_settings_lineage_and_caveat_from_its_config(run):
    folder = run()
    html = write_report(folder, report_of_run(folder)).read_text()

    assert html.index("The start was weakened on purpose.") < html.index("Training in demo</p>")
    assert "<td>training.rl.algorithm</td><td>dapo</td>" in html
    assert "<td>snapshot</td><td>out/web</td>" in html
    assert "<td>evaluation set held-out</td><td>out/other, split test, searched in out/web</td>" in html


def test_the_card_of_a_run_says_what_was_done_and_nothing_that_was_not(run):
    text = render_model_card(card_of_run(run(), parameters=420_000))

    assert "1. Imitation of verified attempts (sft): 5 updates of 16, 500 trained tokens." in text
    assert (
        "2. Reinforcement with dapo and the reward vanilla (rl.first): 1 batch of 4 questions with 8 attempts each."
        in text
    )
    assert "rl.second" not in text
    assert "rl.first answers 75.0 % of 40 questions of held-out" in text
    assert "trained-from-scratch" in HubCard(text).data.tags
    assert "*compact*" in text
    assert f"datagen evaluate {run()}/model --on out/web --questions out/demo/release" in text


def test_the_card_of_adapters_names_the_base_model(run):
    data = HubCard(render_model_card(card_of_run(run(model={"path": "Qwen/Qwen3-4B", "lora": {}})))).data

    assert (data.base_model, data.library_name) == ("Qwen/Qwen3-4B", "peft")


def test_the_card_of_a_run_that_goes_on_from_another_is_not_from_scratch(run, tmp_path):
    (tmp_path / "earlier").mkdir()
    text = render_model_card(card_of_run(run(model={"path": str(tmp_path / "earlier")})))

    assert f"Trained further from {tmp_path / 'earlier'}." in text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"has no config.json; give the directory of a training"):
        report_of_run(tmp_path)
    storage.write_json(str(tmp_path / "config.json"), DatagenConfig().model_dump(mode="json"))
    with pytest.raises(RunDirectoryError, match="has no section on training"):
        card_of_run(tmp_path)
