"""Folders of models: what transformers loads says what the model says, and a folder is old or new, never a part."""

from __future__ import annotations

import os
import shutil
import signal
import sys

import pytest
import torch

from datagen.errors import CheckpointError
from datagen.training.export import export_model, replaced_folder
from datagen.training.models import tiny_qwen3, with_lora

torch.set_num_threads(1)
IDS = torch.arange(10)[None]


def small(*, seed: int = 1, tie: bool = True, lora: bool = False):
    model = tiny_qwen3(61, layers=2, hidden=32, heads=2, ffn=48, seed=seed, tie=tie)
    if not lora:
        return model
    adapted = with_lora(model, rank=4, alpha=8, seed=2)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(5))
    return adapted


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def load(folder, **options):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, **options)


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("lora", [True, False])
def test_transformers_loads_what_was_trained(tmp_path, tie, lora):
    model = small(tie=tie, lora=lora)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    export_model(tmp_path / "model", model)

    loaded = load(tmp_path / "model")
    torch.testing.assert_close(logits(loaded), logits(model), atol=1e-5, rtol=1e-5)
    assert not any("lora" in name or "base_layer" in name for name in loaded.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    if lora:
        plain = small(tie=tie)
        assert not torch.allclose(logits(loaded), logits(plain), atol=1e-2)


def test_tokenizer_and_generation_config_travel_with_the_weights(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

    model = small()
    model.generation_config = GenerationConfig(eos_token_id=2, max_new_tokens=32)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")))
    tokenizer.chat_template = "{{ messages }}"

    export_model(tmp_path / "model", model, tokenizer)

    assert load(tmp_path / "model").generation_config.max_new_tokens == 32
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template == "{{ messages }}"


def test_weights_are_rounded_on_request_and_the_config_says_so(tmp_path):
    model = small()

    export_model(tmp_path / "model", model, dtype="bfloat16")

    loaded = load(tmp_path / "model", dtype="auto")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight.bfloat16())


def test_a_newer_model_takes_the_place_of_an_older_one(tmp_path):
    export_model(tmp_path / "model", small(seed=1))
    (tmp_path / "model" / "left.txt").write_text("of the older one")

    export_model(tmp_path / "model", small(seed=2))

    assert torch.equal(logits(load(tmp_path / "model")), logits(small(seed=2)))
    assert not (tmp_path / "model" / "left.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear")

    with pytest.raises(CheckpointError, match="notes holds something that is no model; give another folder"):
        export_model(tmp_path / "notes", small())

    assert (tmp_path / "notes" / "diary.txt").read_text() == "dear"


def test_an_export_that_fails_leaves_the_folder_as_it_was(tmp_path):
    class Failing:
        def save_pretrained(self, folder):
            raise OSError(28, "No space left on device")

    export_model(tmp_path / "model", small(seed=1))

    with pytest.raises(CheckpointError, match=r"cannot be written to .*No space left on device"):
        export_model(tmp_path / "model", small(seed=2), Failing())

    assert torch.equal(logits(load(tmp_path / "model")), logits(small(seed=1)))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_too_little_room_is_said_with_what_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 0))

    with pytest.raises(CheckpointError, match="no room for the model: it needs 0 MB, and 0 MB are free"):
        export_model(tmp_path / "model", small())

    assert list(tmp_path.iterdir()) == []


def test_killed_at_any_rename_there_is_a_whole_folder_or_none(tmp_path):
    target = tmp_path / "model"
    found = []
    for fatal in range(1, 9):
        shutil.rmtree(target, ignore_errors=True)
        with replaced_folder(target) as scratch:
            (scratch / "config.json").write_text("old")
        child = os.fork()
        if child == 0:
            _replace_until_killed(target, fatal)
        _, status = os.waitpid(child, 0)
        found.append((target / "config.json").read_text() if target.exists() else None)
        if os.waitstatus_to_exitcode(status) == 0:
            break

    assert found[0] == "old"
    assert found[-1] == "new"
    assert found.count(None) <= 1
    assert len(found) > 3


def _replace_until_killed(target, fatal: int) -> None:
    changes = 0

    def kill(event: str, _arguments: tuple) -> None:
        nonlocal changes
        if event in {"os.rename", "os.mkdir", "os.rmdir", "os.remove"}:
            changes += 1
            if changes == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(kill)
        with replaced_folder(target) as scratch:
            (scratch / "config.json").write_text("new")
        os._exit(0)
    finally:
        os._exit(99)
