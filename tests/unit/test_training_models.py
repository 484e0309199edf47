"""Models: sizes, adapters, precision, reading and writing."""

from __future__ import annotations

import pytest
import torch
from tests.unit.training_samples import Imitation, llama, rows, small_model

from datagen.errors import CheckpointError, ConfigError
from datagen.training.learner import Learner
from datagen.training.models import (
    TokenScorer,
    checkpoint_activations,
    has_adapters,
    head_of,
    load_model,
    outer_parameters,
    save_model,
    tiny_qwen3,
    with_lora,
    without_adapters,
)
from datagen.training.optimizers import OptimizerSettings
from datagen.training.packing import bins, to_batch
from datagen.training.precision import Masters, to_float32

torch.set_num_threads(1)


def scores(model, given_rows) -> torch.Tensor:
    [part] = bins(given_rows, tokens=1000)
    return TokenScorer(model, layout="packed")(to_batch(part))[0]


def test_the_tiny_model_has_the_sizes_of_the_study():
    model = tiny_qwen3(900)

    assert sum(one.numel() for one in model.parameters()) == 419_040
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert 0.038 < float(model.get_input_embeddings().weight.detach().std()) < 0.042


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two, other = (small_model(seed) for seed in (1, 1, 2))

    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(head_of(one).weight, head_of(other).weight)


def test_a_written_model_reads_back_with_the_same_scores(tmp_path):
    given_rows = rows([9, 14])
    model = small_model()
    wanted = scores(model, given_rows)
    save_model(model, tmp_path / "model")
    back = load_model(tmp_path / "model")

    assert torch.equal(scores(back, given_rows), wanted)
    assert "datagen_rows" not in (tmp_path / "model" / "config.json").read_text()


def test_a_model_is_rounded_on_the_way_out_and_not_in_use(tmp_path):
    model = small_model()
    save_model(model, tmp_path, dtype="bfloat16")

    assert {one.dtype for one in load_model(tmp_path, dtype="bfloat16").parameters()} == {torch.bfloat16}
    assert torch.equal(head_of(load_model(tmp_path)).weight, head_of(model).weight.bfloat16().float())
    assert {one.dtype for one in model.parameters()} == {torch.float32}


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"'{tmp_path}' cannot be read"):
        load_model(tmp_path)


@pytest.mark.parametrize("make", [small_model, llama])
def test_lora_trains_adapters_alone_and_leaves_the_reference_in_place(make):
    given_rows = rows([9, 14, 30])
    model = make()
    frozen = {name: one.detach().clone() for name, one in model.named_parameters()}
    wanted = scores(make(), given_rows).detach()
    adapted = with_lora(model, rank=4, alpha=8)
    learner = Learner(adapted, optimizer=OptimizerSettings(learning_rate=1e-2), entropy=False)
    for _ in range(3):
        learner.step(given_rows, Imitation())

    trained = {name for name, one in adapted.named_parameters() if one.requires_grad}
    assert all("lora_" in name for name in trained)
    for name, one in adapted.named_parameters():
        if name not in trained:
            plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
            assert torch.equal(one, frozen[plain]), name
    assert not torch.allclose(scores(adapted, given_rows), wanted, atol=1e-3)
    with without_adapters(adapted):
        assert torch.equal(scores(adapted, given_rows), wanted)
    reference = torch.cat([torch.from_numpy(one[row.trained]) for one, row in zip(
        learner.logprobs(given_rows, adapters=False), given_rows, strict=True)])  # fmt: skip
    assert torch.allclose(reference, wanted, atol=1e-5)


def test_adapters_are_written_without_the_model(tmp_path):
    adapted = with_lora(small_model(), rank=4, alpha=8)
    save_model(adapted, tmp_path)

    assert (tmp_path / "adapter_model.safetensors").exists()
    assert not (tmp_path / "model.safetensors").exists()


def test_layers_that_are_not_there_and_the_head_get_no_adapter():
    with pytest.raises(ConfigError, match="no layers called w1; take them out"):
        with_lora(small_model(), rank=4, alpha=8, targets=("q_proj", "w1"))
    with pytest.raises(ConfigError, match="names the head"):
        with_lora(small_model(tie=False), rank=4, alpha=8, targets=("q_proj", "lm_head"))
    with pytest.raises(ConfigError, match="no adapters to leave out"), without_adapters(small_model()):
        pass


def test_a_half_precision_base_keeps_its_precision_under_single_precision_adapters():
    adapted = with_lora(small_model().bfloat16(), rank=4, alpha=8)
    to_float32(adapted)

    assert has_adapters(adapted)
    for name, one in adapted.named_parameters():
        assert one.dtype == (torch.float32 if "lora_" in name else torch.bfloat16), name


def test_trained_weights_become_single_precision_and_stay_tied():
    model = small_model().bfloat16()
    to_float32(model)

    assert {one.dtype for one in model.parameters()} == {torch.float32}
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_masters_have_the_names_of_what_is_trained_and_the_model_keeps_its_positions():
    model = small_model(tie=True)
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    angles = model.model.rotary_emb.inv_freq.clone()
    masters = Masters(model)

    assert {name: one.dtype for name, one in masters.named_parameters()} == dict.fromkeys(before, torch.float32)
    assert all(torch.equal(one, before[name]) for name, one in masters.named_parameters())
    assert {one.dtype for one in model.parameters()} == {torch.bfloat16}
    assert torch.equal(model.model.rotary_emb.inv_freq, angles)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_gradients_of_half_precision_passes_add_up_in_single_precision():
    weight = torch.nn.Linear(1, 1, bias=False)
    masters = Masters(weight)
    for _ in range(400):
        weight(torch.ones(1, 1, dtype=torch.bfloat16)).sum().backward()

    # In bfloat16 the sum would stop at 256.
    assert masters.weight.grad.item() == 400
    assert weight.weight.grad is None


@pytest.mark.parametrize("adapters", [False, True])
def test_checkpointed_activations_give_the_same_gradient(adapters):
    given_rows = rows([9, 14, 30])
    slopes = []
    for checkpointed in (False, True):
        model = with_lora(small_model(), rank=4, alpha=8) if adapters else small_model()
        if checkpointed:
            checkpoint_activations(model)
            layers = [one for one in model.modules() if getattr(one, "gradient_checkpointing", False)]
            assert layers
        model.train()
        scores(model, given_rows).sum().backward()
        slopes.append([one.grad for one in model.parameters() if one.requires_grad])

    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_embeddings_and_head_are_outside_of_the_blocks():
    assert len({id(one) for one in outer_parameters(small_model(tie=True))}) == 1
    assert len({id(one) for one in outer_parameters(small_model(tie=False))}) == 2


def test_a_model_that_bends_its_logits_is_refused():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=61, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="final_logit_softcapping"):
        TokenScorer(Gemma2ForCausalLM(config), layout="padded")
