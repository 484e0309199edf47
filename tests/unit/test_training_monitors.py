"""Alarms fire where something goes wrong, say what with figures, and are quiet where nothing does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import ConfigError, TrainingError
from datagen.training.monitors import OTHER_RULES, RULES, Beyond, Drift, Monitors
from datagen.training.recording import METRICS, EvaluationRecord, MetricLine, Recorder, read_alarms, read_metrics

HEALTHY = {
    "loss": 0.4, "grad_norm": 0.8, "kl_old_new": 0.002, "kl_ref": 0.05, "logprob_gap": 0.01, "logprob_gap_max": 0.6, "entropy": 0.9,
    "clip_low": 0.01, "clip_high": 0.02, "kept_weight": 0.99, "logprob_positive": -0.3, "logprob_negative": -0.6, "logprob_chosen": -0.4,
    "tool_calls": 4.0, "parse_failures": 0.05, "truncated": 0.04, "tokens_per_rollout": 180.0, "infrastructure_failures": 0.0,
    "zero_variance": 0.4, "staleness": 0.5, "staleness_max": 2.0, "waiting": 0.1, "reward": 0.4,
}  # fmt: skip


def alarms_of(metric: str, values: list[float | None]) -> list[tuple[int, str]]:
    """(step, rule) of what a stream of one metric raises, all others being healthy."""
    monitors = Monitors()
    return [
        (alarm.step, alarm.rule)
        for step, value in enumerate(values, start=1)
        for alarm in monitors.observe("rl", step, HEALTHY | {metric: value})
    ]


def measured(success: float, *, step: int, n: int = 400, mode: str = "greedy") -> EvaluationRecord:
    return EvaluationRecord("rl", "held-out", mode, n, round(success * n), phase="rl", step=step)


def test_a_healthy_run_raises_no_alarm():
    assert alarms_of("loss", [0.4] * 60) == []


@pytest.mark.parametrize(
    ("metric", "beginning", "later", "rule"),
    [
        ("logprob_gap", 0.01, 0.2, "logprob_gap"),
        ("logprob_gap_max", 0.6, 9.0, "logprob_gap_max"),
        ("kl_old_new", 0.002, 0.3, "kl_old_new"),
        ("kl_ref", 0.1, 2.0, "kl_ref"),
        ("clip_low", 0.01, 0.5, "clip_low"),
        ("clip_high", 0.01, 0.5, "clip_high"),
        ("kept_weight", 1.0, 0.2, "kept_weight"),
        ("tool_calls", 0.0, 0.0, "no_calls"),
        ("tool_calls", 5.0, 1.0, "calls_fade"),
        ("parse_failures", 0.0, 2.0, "parse_failures"),
        ("zero_variance", 0.4, 0.95, "zero_variance"),
        ("truncated", 0.0, 0.6, "truncated"),
        ("infrastructure_failures", 0.0, 0.4, "infrastructure"),
        ("entropy", 1.0, 0.1, "entropy_dies"),
        ("entropy", 0.8, 3.0, "entropy_rises"),
        ("logprob_positive", -0.3, -2.0, "displacement"),
        ("logprob_negative", -0.5, -6.0, "displacement_negative"),
        ("logprob_chosen", -0.5, -2.0, "displacement_chosen"),
        ("tokens_per_rollout", 200.0, 700.0, "length_rises"),
        ("tokens_per_rollout", 200.0, 50.0, "length_falls"),
        ("grad_norm", 1.0, 25.0, "grad_norm"),
        ("staleness", 1.0, 6.0, "staleness"),
        ("staleness_max", 1.0, 12.0, "staleness_max"),
        ("waiting", 0.1, 0.8, "waiting"),
        ("loss", 0.3, math.nan, "not_a_number"),
    ],
)
def test_each_fault_raises_its_alarm_once(metric, beginning, later, rule):
    found = alarms_of(metric, [beginning] * 10 + [later] * 12)

    assert [name for _, name in found] == [rule]


def test_every_rule_is_tried_by_a_test_and_stands_in_the_table_of_metrics():
    for rule in RULES:
        assert rule.condition in METRICS[rule.metric].alarm, f"{rule.name}: {rule.condition}"
    watched = {rule.metric for rule in RULES}
    assert {name for name, metric in METRICS.items() if metric.alarm} == watched
    tried = {
        mark.args[1][n][3]
        for mark in test_each_fault_raises_its_alarm_once.pytestmark
        for n in range(len(mark.args[1]))
    }
    assert {rule.name for rule in RULES} - tried == set()


def test_a_single_bad_update_is_no_alarm_where_a_rule_asks_for_several():
    assert alarms_of("parse_failures", [0.0, 3.0, 3.0, 0.0, 3.0, 3.0, 0.0]) == []


def test_an_alarm_that_goes_on_is_raised_once_and_again_after_it_was_gone():
    found = alarms_of("parse_failures", [1.0] * 10 + [0.0] * 6 + [1.0] * 5)

    assert found == [(3, "parse_failures"), (19, "parse_failures")]


def test_an_alarm_that_flickers_is_raised_once():
    assert len(alarms_of("parse_failures", ([1.0] * 4 + [0.0]) * 6)) == 1


def test_what_was_not_measured_raises_nothing():
    assert alarms_of("tool_calls", [None] * 20) == []


def test_an_alarm_is_a_sentence_with_the_step_and_the_figures():
    monitors = Monitors()
    for step in range(1, 4):
        found = monitors.observe("rl", step, {"logprob_gap": 0.25})

    (alarm,) = found
    assert alarm.sentence.startswith(
        "Update 3 of rl: learner and sampler disagree by 0.250 nats per token, in 3 updates running."
    )
    assert alarm.sentence.endswith(".")


def test_entropy_may_fall_where_demonstrations_are_imitated():
    monitors = Monitors()

    found = [
        alarm for step in range(1, 40) for alarm in monitors.observe("sft", step, {"entropy": 6.0 / step, "nll": 1.0})
    ]

    assert found == []


def test_phases_are_looked_at_apart():
    monitors = Monitors()
    for step in range(1, 11):
        monitors.observe("rl.one", step, {"entropy": 2.0, "reward": 0.5})

    found = [
        alarm for step in range(1, 11) for alarm in monitors.observe("rl.two", step, {"entropy": 0.2, "reward": 0.5})
    ]

    assert found == []


def test_a_number_that_is_none_does_not_spoil_the_means():
    assert alarms_of("entropy", [0.9] * 8 + [math.nan] + [0.9] * 8) == [(9, "not_a_number")]


# --- held-out success -----------------------------------------------------------------------------------------------


def run_of(rewards: list[float], successes: dict[int, float], *, mode: str = "greedy", n: int = 400) -> list[str]:
    monitors, rules = Monitors(), []
    for step, reward in enumerate(rewards, start=1):
        rules += [alarm.rule for alarm in monitors.observe("rl", step, {"reward": reward})]
        if step in successes:
            record = measured(successes[step], step=step, n=n, mode=mode)
            rules += [alarm.rule for alarm in monitors.observe_evaluation(record)]
    return rules


def test_a_reward_that_rises_alone_is_an_alarm():
    rising = [0.2 + 0.02 * step for step in range(30)]

    assert run_of(rising, {1: 0.4, 15: 0.4, 30: 0.39}) == ["reward_without_success"]
    assert run_of(rising, {1: 0.4, 15: 0.5, 30: 0.7}) == []
    assert run_of([0.2] * 30, {1: 0.4, 15: 0.4, 30: 0.39}) == []


def test_success_that_is_lost_again_is_an_alarm_when_it_is_no_chance():
    assert run_of([0.2] * 30, {1: 0.4, 15: 0.8, 30: 0.5}) == ["success_falls"]
    assert run_of([0.2] * 30, {1: 0.4, 15: 0.8, 30: 0.5}, n=10) == []


def test_questions_that_can_be_guessed_are_an_alarm():
    assert run_of([0.2], {1: 0.3}, mode="no_search") == ["guessed"]
    assert run_of([0.2], {1: 0.02}, mode="no_search") == []


def test_a_measurement_without_a_grade_says_nothing():
    assert Monitors().observe_evaluation(EvaluationRecord("rl", "held-out", "greedy", 0, 0)) == []


# --- stopping and resuming ------------------------------------------------------------------------------------------


def test_an_alarm_ends_the_run_only_where_stop_on_names_it(tmp_path):
    def play(monitors: Monitors) -> None:
        recorder = Recorder(tmp_path, watchers=[monitors], tensorboard=False)
        recorder.record("rl", len(read_metrics(tmp_path)) + 1, {"loss": math.nan})

    play(Monitors())
    play(Monitors())
    with pytest.raises(TrainingError, match=r"loss is no number. The run ends here, for stop_on names 'not_a_number'"):
        play(Monitors(stop_on=("not_a_number",)))

    assert len(read_metrics(tmp_path)) == 3
    assert [alarm.step for alarm in read_alarms(tmp_path)] == [
        1,
        3,
    ]  # what goes on is no second alarm, unless it ends the run


def test_stop_on_must_name_rules_that_exist():
    with pytest.raises(ConfigError, match="stop_on names entropy, which is no rule; the rules are calls_fade"):
        Monitors(stop_on=("entropy", "no_calls"))
    assert Monitors(stop_on=[*OTHER_RULES, *(rule.name for rule in RULES)])


values = st.fixed_dictionaries({name: st.floats(0, 3) | st.none() for name in ("entropy", "tool_calls", "grad_norm")})


@given(st.lists(values, min_size=1, max_size=40), st.data())
@settings(max_examples=60, deadline=None)
def test_after_a_resume_monitors_raise_what_they_would_have_raised(stream, data):
    cut = data.draw(st.integers(0, len(stream)))
    at_once, resumed = Monitors(), Monitors()
    everything = [at_once.observe("rl", step, line) for step, line in enumerate(stream)]

    resumed.replay([MetricLine("rl", step, line) for step, line in enumerate(stream[:cut])], [])
    later = [resumed.observe("rl", step, line) for step, line in enumerate(stream) if step >= cut]

    assert later == everything[cut:]


def test_measurements_are_replayed_in_their_place():
    lines = [MetricLine("rl", step, {"reward": 0.2 + 0.02 * step}) for step in range(1, 31)]
    monitors = Monitors()

    monitors.replay(lines, [measured(0.4, step=step) for step in (0, 15)])

    assert [alarm.rule for alarm in monitors.observe_evaluation(measured(0.38, step=30))] == ["reward_without_success"]


def test_rules_can_be_ones_own():
    rules = (
        Beyond("dear", "memory_mb", 10.0, "it takes {value:.0f} MB.", updates=1),
        Drift("slow", "tokens_per_s", "speed fell to {now:.0f}.", factor=0.5),
    )

    assert [alarm.sentence for alarm in Monitors(rules=rules).observe("sft", 4, {"memory_mb": 12.0})] == [
        "Update 4 of sft: it takes 12 MB."
    ]
