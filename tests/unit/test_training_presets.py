"""Algorithms by name: what each is, and how settings are laid over it."""

from __future__ import annotations

import itertools

import pytest

from datagen.errors import ConfigError
from datagen.training.objectives.advantages import AdvantageSettings, batch_scale, group_advantages
from datagen.training.objectives.correction import Correction
from datagen.training.objectives.policy import PolicyLoss
from datagen.training.objectives.presets import PRESETS, Overlong, Prune, Replay, preset


def test_the_algorithms_are_those_that_the_spec_names():
    assert list(PRESETS) == ["grpo", "dapo", "dr_grpo", "gspo", "cispo", "rapo"]
    assert all(algorithm.name == name for name, algorithm in PRESETS.items())


def test_grpo_is_the_clip_over_sequence_means():
    grpo = preset("grpo")

    assert (grpo.loss.clip_low, grpo.loss.clip_high, grpo.loss.dual_clip) == (0.2, 0.2, None)
    assert (grpo.aggregation, grpo.advantage) == ("sequence_mean", AdvantageSettings(ddof=1, eps=1e-6))
    assert (grpo.kl_coef, grpo.prune, grpo.scale, grpo.replay, grpo.dynamic_sampling) == (0, None, False, None, False)


def test_dapo_clips_higher_takes_the_token_mean_and_samples_again():
    dapo = preset("dapo")

    assert (dapo.loss.clip_low, dapo.loss.clip_high) == (0.2, 0.28)
    assert (dapo.aggregation, dapo.dynamic_sampling, dapo.max_resamples) == ("token_mean", True, 10)
    # The paper: a cap of 20,480 tokens and a buffer of 4,096.
    assert [dapo.overlong.penalty(length, 20_480) for length in (16_384, 18_432, 20_480)] == [0, -0.5, -1]
    assert Overlong(buffer_share=0.4, factor=0.5).penalty(20, 20) == -0.5


def test_dr_grpo_divides_by_no_deviation_and_by_a_constant_length():
    dr_grpo = preset("dr_grpo", max_length=8)

    assert dr_grpo.advantage.scale == "none"
    assert (dr_grpo.aggregation, dr_grpo.max_length) == ("constant_length", 8)


def test_gspo_clips_the_ratio_of_sequences_closely():
    assert preset("gspo").loss == PolicyLoss(clip_low=3e-4, clip_high=4e-4, ratio="sequence")
    assert preset("gspo").aggregation == "sequence_mean"


def test_cispo_caps_the_weight_and_scales_by_the_batch():
    cispo = preset("cispo")

    assert cispo.loss == PolicyLoss("cispo", cap=5.0)
    assert (cispo.advantage.scale, cispo.aggregation) == ("batch", "token_mean")


def test_rapo_is_the_paper_with_all_three_parts():
    rapo = preset("rapo")

    assert (rapo.prune, rapo.scale, rapo.replay) == (Prune(0.9, None), True, Replay("recompute", None))
    assert (rapo.max_scale, rapo.aggregation, rapo.success, rapo.kl_coef) == (None, "sequence_mean", "answer", 0)
    found = group_advantages([[1, 0.1, 0.1, 0.1, 0.1], [1] * 5], rapo.advantage)
    scale = batch_scale(found.good, max_scale=rapo.max_scale)
    assert [scale * value for value in found.values[0]] == pytest.approx([4, -1, -1, -1, -1])


def test_a_share_of_high_entropy_lies_between_0_and_1_and_goes_without_a_floor():
    assert preset("grpo", high_entropy_share=0.2).high_entropy_share == 0.2
    with pytest.raises(ConfigError, match="high_entropy_share is 0; it lies above 0"):
        preset("grpo", high_entropy_share=0)
    with pytest.raises(ConfigError, match="drop one of the two"):
        preset("grpo", high_entropy_share=0.2, entropy_floor=0.5)


def test_the_parts_of_rapo_can_be_switched_one_by_one():
    assert preset("rapo", prune=None).prune is None
    assert preset("rapo", replay=None).replay is None
    assert not preset("rapo", scale=False).scale
    alone = [preset("grpo", prune={}), preset("grpo", scale=True, max_scale=4), preset("grpo", replay={})]
    assert [bool(a.prune) + a.scale + bool(a.replay) for a in alone] == [1, 1, 1]


def test_a_setting_is_laid_over_by_its_name_its_path_or_its_table():
    expected = PolicyLoss(clip_high=0.28, correction=Correction(cap=3.0))

    assert preset("grpo", clip_high=0.28, **{"loss.correction.cap": 3.0}).loss == expected
    assert preset("grpo", loss={"clip_high": 0.28, "correction": {"cap": 3.0}}).loss == expected
    assert preset("grpo", **{"loss.clip_high": 0.28, "correction": {"cap": 3.0}}).loss == expected
    assert preset("grpo", loss=expected).loss == expected
    assert preset("grpo", ddof=0).advantage.ddof == 0
    assert preset("gspo", dual_clip=3.0).loss == PolicyLoss(
        clip_low=3e-4, clip_high=4e-4, ratio="sequence", dual_clip=3.0
    )
    assert preset("rapo", **{"prune.recycle_after": 2}).prune == Prune(0.9, 2)
    assert preset("grpo", overlong=Overlong(0.1)).overlong == Overlong(0.1)


def test_a_preset_is_not_changed_by_what_is_laid_over_it():
    preset("grpo", clip_high=0.9)

    assert preset("grpo") == PRESETS["grpo"]
    assert PRESETS["grpo"].loss.clip_high == 0.2


def test_settings_of_one_part_are_checked_together_whatever_their_order():
    changes = {"kind": "clip", "cap": None, "dual_clip": 3.0}
    found = {preset("cispo", **dict(order)).loss for order in itertools.permutations(changes.items())}

    assert found == {PolicyLoss(dual_clip=3.0)}


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"clip": 0.3}, "clip is no setting of an algorithm; it has advantage, loss"),
        ({"loss.clip": 0.3}, r"loss\.clip is no setting of an algorithm; loss\.has kind"),
        ({"loss": {"clip": 0.3}}, r"loss\.clip is no setting"),
        ({"prune.rate": 0.3}, r"prune\.rate is no setting"),
        ({"scale.most": 3}, "scale is one value"),
        ({"name": "mine"}, "name is no setting"),
        ({"loss": 3}, "give a table"),
        ({"loss": None}, "give a table"),
        ({"prune": 0.9}, "give a table"),
        ({"clip_low": 0.1, "loss": {"clip_low": 0.2}}, "set twice"),
        ({"replay": None, "replay.max_age": 3}, "as a whole as well"),
        ({"replay.max_age": 3, "replay": None}, "set twice"),
        ({"aggregation": "mean"}, "choose one of sequence_mean"),
        ({"success": "luck"}, "choose answer or reward"),
        ({"max_scale": 0.5}, "at least 1"),
        ({"replay.ratio": "none"}, "recompute or behaviour"),
        ({"overlong.buffer_share": 0}, "buffer_share"),
    ],
    ids=str,
)
def test_what_does_not_exist_or_contradicts_itself_is_refused_with_the_choices(overrides, named):
    with pytest.raises(ConfigError, match=named):
        preset("grpo", **overrides)


def test_an_unknown_algorithm_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="no algorithm 'ppo'; choose one of grpo, dapo, dr_grpo, gspo, cispo, rapo"):
        preset("ppo")
