"""What a run writes down survives its death, and is there once."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.errors import StorageError
from datagen.rollouts.rewards.steps import Counts
from datagen.training.batch_statistics import MEANS, TOTALS, measures_of, peaks_of, sums_of
from datagen.training.objectives.policy import PolicyLoss
from datagen.training.objectives.supervised import SupervisedLoss
from datagen.training.pool_stats import PoolStats
from datagen.training.recording import (
    METRICS,
    Alarm,
    EvaluationRecord,
    Recorder,
    metrics_table,
    read_alarms,
    read_evaluations,
    read_metrics,
)
from datagen.training.recording.journal import Journal, encode, whole_bytes
from datagen.training.recording.metrics import PANELS
from datagen.training.replay import COUNTS
from datagen.training.resampling import Refill
from datagen.training.rollout import Group, Rollout, Sampled
from datagen.training.sft import step_measures
from datagen.training.step_report import StepReport
from datagen.training.tokens import TokenBatch

torch.set_num_threads(1)


class Watching:
    """Raises an alarm where the loss is above 1, and notes what it was shown."""

    def __init__(self):
        self.seen: list[tuple[str, int]] = []
        self.replayed: list[tuple[str, int]] = []

    def observe(self, phase, step, values):
        self.seen.append((phase, step))
        return [Alarm(phase, step, "high", f"loss {values['loss']}")] if (values.get("loss") or 0) > 1 else []

    def observe_evaluation(self, record):
        return [Alarm(record.phase, record.step, "measured", record.set)]

    def replay(self, lines, evaluations):
        self.replayed = [(line.phase, line.step) for line in lines]

    def check(self, alarms):
        pass


def recorded(folder: Path, **options) -> Recorder:
    recorder = Recorder(folder, tensorboard=False, **options)
    for step in (1, 2):
        recorder.record("sft", step, {"nll": 3.0 - step})
    for step in (1, 2, 3):
        recorder.record("rl", step, {"reward": 0.1 * step, "kl_ref": None})
    return recorder


def test_what_is_recorded_is_read_again(tmp_path):
    recorded(tmp_path)

    lines = read_metrics(tmp_path)

    assert [(line.phase, line.step) for line in lines] == [("sft", 1), ("sft", 2), ("rl", 1), ("rl", 2), ("rl", 3)]
    assert lines[0].values == {"nll": 2.0}
    assert lines[3].values == {"reward": 0.2, "kl_ref": None}


def test_every_update_is_in_the_file_when_the_call_returns(tmp_path):
    recorder = Recorder(tmp_path, tensorboard=False)

    recorder.record("rl", 1, {"loss": 0.5})

    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"phase": "rl", "step": 1, "loss": 0.5}


def test_figures_that_are_no_numbers_stay_what_they_are(tmp_path):
    Recorder(tmp_path, tensorboard=False).record("rl", 1, {"loss": math.nan, "grad_norm": math.inf, "reward": None})

    values = read_metrics(tmp_path)[0].values

    assert math.isnan(values["loss"])
    assert values["grad_norm"] == math.inf
    assert values["reward"] is None
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_numbers_of_torch_and_numpy_are_plain_in_the_file(tmp_path):
    Recorder(tmp_path, tensorboard=False).record("rl", 1, {"loss": torch.tensor(0.25), "success": True})

    assert read_metrics(tmp_path)[0].values == {"loss": 0.25, "success": 1.0}


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_line_torn_by_a_kill_is_taken_away_when_the_run_opens_again(tmp_path, cut):
    recorded(tmp_path)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])

    Recorder(tmp_path, tensorboard=False).record("rl", 3, {"reward": 0.9})

    lines = read_metrics(tmp_path)
    assert [line.step for line in lines] == [1, 2, 1, 2, 3]
    assert lines[-1].values == {"reward": 0.9}


@given(st.lists(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4)), max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_cut_off_whole_lines_stay(lines, data):
    parts = [encode(line) for line in lines]
    kept = data.draw(st.integers(0, len(b"".join(parts))))

    found = whole_bytes(b"".join(parts)[:kept])

    ends = [sum(map(len, parts[:count])) for count in range(len(parts) + 1)]
    assert found == max(end for end in ends if end <= kept)


def test_a_line_of_zeros_left_by_a_power_cut_is_taken_away(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(encode({"a": 1}) + b"\0" * 20 + b"\n")

    assert Journal(path).lines() == [{"a": 1}]


def test_a_line_broken_by_hand_is_refused_with_its_number(tmp_path):
    recorded(tmp_path)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text().replace('{"phase":"rl","step":1', '{"phase":"rl",step:1'))

    with pytest.raises(StorageError, match="line 3 is not JSON"):
        read_metrics(tmp_path)


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "j.jsonl")
    journal.append({"a": 1})
    real = Path.open

    class Full:
        """A file on a disk with room for five bytes."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            self.file.close()

        def write(self, data):
            self.file.write(data[:5])
            self.file.flush()
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        Path, "open", lambda path, mode="r": Full(real(path, mode)) if mode == "ab" else real(path, mode)
    )
    with pytest.raises(StorageError, match=r"No space left on device.*then resume"):
        journal.append({"a": 2})
    monkeypatch.undo()

    journal.append({"a": 3})
    assert journal.lines() == [{"a": 1}, {"a": 3}]


def test_a_metric_cannot_take_the_name_of_the_step(tmp_path):
    with pytest.raises(ValueError, match="step cannot be the name"):
        Recorder(tmp_path, tensorboard=False).record("rl", 1, {"step": 3.0})


def test_two_lines_of_one_update_are_read_as_one(tmp_path):
    recorder = Recorder(tmp_path, tensorboard=False)
    recorder.record("rl", 1, {"loss": 1.0, "reward": 0.2})
    recorder.record("rl", 1, {"memory_mb": 80.0, "loss": 0.5})

    (line,) = read_metrics(tmp_path)

    assert line.values == {"loss": 0.5, "reward": 0.2, "memory_mb": 80.0}


# --- resuming -------------------------------------------------------------------------------------------------------


def test_a_rewind_drops_later_updates_and_later_phases(tmp_path):
    recorder = recorded(tmp_path)
    recorder.evaluation(EvaluationRecord("sft", "test", "greedy", 10, 5, phase="sft", step=2))
    recorder.evaluation(EvaluationRecord("rl", "test", "greedy", 10, 7, phase="rl", step=3))

    dropped = recorder.rewind("sft", 1)

    assert dropped == 6
    assert [(line.phase, line.step) for line in read_metrics(tmp_path)] == [("sft", 1)]
    assert read_evaluations(tmp_path) == []


def test_a_rewind_to_a_phase_that_has_not_begun_drops_nothing(tmp_path):
    recorder = recorded(tmp_path)

    assert recorder.rewind("dpo", 0) == 0
    assert len(read_metrics(tmp_path)) == 5


def test_after_a_kill_and_a_resume_every_update_is_there_once(tmp_path):
    recorder = recorded(tmp_path, watchers=[Watching()])
    state = json.loads(json.dumps(recorder.state_dict()))
    untouched = (tmp_path / "metrics.jsonl").read_bytes()
    recorder.record("rl", 4, {"loss": 7.0})
    recorder.record("dpo", 1, {"loss": 8.0})
    recorder.evaluation(EvaluationRecord("rl", "test", "greedy", 10, 7, phase="rl", step=4))

    watching = Watching()
    again = Recorder(tmp_path, tensorboard=False, watchers=[watching])
    again.load_state_dict(state)

    assert (tmp_path / "metrics.jsonl").read_bytes() == untouched
    assert read_alarms(tmp_path) == []
    assert read_evaluations(tmp_path) == []
    assert watching.replayed == [("sft", 1), ("sft", 2), ("rl", 1), ("rl", 2), ("rl", 3)]


def test_curves_that_are_gone_are_said_and_stop_nothing(tmp_path):
    state = recorded(tmp_path / "first").state_dict()
    said: list[str] = []
    moved = Recorder(tmp_path / "second", tensorboard=False, say=said.append)

    moved.load_state_dict(state)
    moved.record("rl", 4, {"loss": 1.0})

    assert [line.step for line in read_metrics(tmp_path / "second")] == [4]
    assert len(said) == 1
    assert "the curves begin later" in said[0]


def test_a_state_of_another_file_leaves_no_part_of_a_line(tmp_path):
    state = recorded(tmp_path / "first").state_dict()
    recorder = Recorder(tmp_path / "second", tensorboard=False)
    for step in range(1, 20):
        recorder.record("another phase", step, {"loss": 0.123})

    recorder.load_state_dict(state)
    recorder.record("rl", 4, {"loss": 1.0})

    assert read_metrics(tmp_path / "second")[-1].phase == "rl"


def test_ranks_that_do_not_write_touch_no_file(tmp_path):
    recorded(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with recorded(tmp_path, writes=False, watchers=[Watching()]) as other:
        assert other.record("rl", 9, {"loss": 9.0}) == []
        assert other.rewind("sft", -1) == 0
        other.load_state_dict(Recorder(tmp_path, tensorboard=False).state_dict())

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# --- alarms and listeners -------------------------------------------------------------------------------------------


def test_alarms_are_recorded_and_told(tmp_path):
    told: list[object] = []

    class Listening:
        def recorded(self, phase, step, values):
            told.append((phase, step))

        def evaluated(self, record):
            told.append(record.set)

        def alarmed(self, alarm):
            told.append(alarm.sentence)

    recorder = Recorder(tmp_path, tensorboard=False, watchers=[Watching()], listeners=[Listening()])
    alarms = recorder.record("rl", 1, {"loss": 2.0})
    recorder.evaluation(EvaluationRecord("rl", "test", "greedy", 10, 7, phase="rl", step=1))

    assert [alarm.rule for alarm in alarms] == ["high"]
    assert [alarm.rule for alarm in read_alarms(tmp_path)] == ["high", "measured"]
    assert told == [("rl", 1), "loss 2.0", "test", "test"]


# --- evaluations ----------------------------------------------------------------------------------------------------


def test_an_attempt_that_the_infrastructure_broke_is_not_in_n():
    record = EvaluationRecord.of("rl", "test", "greedy", {"q1": [True], "q2": [False], "q3": [None]})

    assert (record.n, record.right, record.failures, record.success) == (2, 1, 1, 0.5)
    assert record.per_question == {"q1": 1.0, "q2": 0.0}


def test_an_evaluation_comes_back_from_its_line_whole(tmp_path):
    record = EvaluationRecord.of(
        "rl", "test", "sampled", {"q1": [True, False], "q2": [False, None]},
        phase="rl", step=7, searches=2.5, by_group={"3 hops": (1, 2)},
    )  # fmt: skip

    Recorder(tmp_path, tensorboard=False).evaluation(record)

    assert read_evaluations(tmp_path) == [record]


def test_of_a_measurement_made_twice_the_newer_is_read(tmp_path):
    recorder = Recorder(tmp_path, tensorboard=False)
    for right in (3, 4):
        recorder.evaluation(EvaluationRecord("rl", "test", "greedy", 10, right, phase="rl", step=7))

    assert [record.right for record in read_evaluations(tmp_path)] == [4]


def test_several_attempts_at_a_question_count_as_one_observation():
    alike = {f"q{i}": [i % 2 == 0] * 8 for i in range(20)}  # 160 attempts, but only 20 questions
    once = EvaluationRecord.of("rl", "test", "greedy", {name: grades[:1] for name, grades in alike.items()})

    several = EvaluationRecord.of("rl", "test", "sampled", alike)

    assert several.interval().high - several.interval().low == pytest.approx(
        once.interval().high - once.interval().low, rel=0.2
    )


def test_equal_shares_do_not_make_an_interval_without_width():
    found = EvaluationRecord.of("rl", "test", "sampled", {f"q{i}": [False] * 4 for i in range(20)}).interval()

    assert (found.low, round(found.high, 4)) == (0.0, 0.1611)


def test_more_right_answers_than_attempts_are_refused():
    with pytest.raises(ValueError, match="11 right answers of 10"):
        EvaluationRecord("rl", "test", "greedy", 10, 11)


# --- TensorBoard ----------------------------------------------------------------------------------------------------


def events(folder: Path) -> list[tuple[str, int, float | None]]:
    """(tag, step, value) of all event files of a run in the order TensorBoard reads them; value None for a purge."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack("<Q", data[at : at + 8])
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            if event.HasField("session_log"):
                found.append(("purge", event.step, None))
    return found


def test_tensorboard_gets_one_run_per_phase(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.record("sft", 1, {"nll": 2.0})
        recorder.record("rl", 1, {"reward": 0.5, "kl_ref": None, "loss": math.nan})
        recorder.evaluation(EvaluationRecord("rl", "test", "greedy", 10, 7, phase="rl", step=1))

    assert events(tmp_path / "tensorboard" / "sft") == [("nll", 1, 2.0)]
    assert events(tmp_path / "tensorboard" / "rl") == [
        ("reward", 1, 0.5),
        ("success/test/greedy", 1, pytest.approx(0.7)),
    ]


def test_at_a_checkpoint_the_events_before_it_are_in_the_file(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.record("rl", 1, {"reward": 1.0})
        recorder.state_dict()

        assert events(tmp_path / "tensorboard" / "rl") == [("reward", 1, 1.0)]


def test_a_rewind_hides_later_events_from_tensorboard(tmp_path):
    with Recorder(tmp_path) as recorder:
        for step in (1, 2, 3):
            recorder.record("rl", step, {"reward": float(step)})
        state = recorder.state_dict()
        recorder.record("rl", 4, {"reward": 4.0})
    with Recorder(tmp_path) as recorder:
        recorder.load_state_dict(state)
        recorder.record("rl", 4, {"reward": 40.0})

    assert events(tmp_path / "tensorboard" / "rl")[-2:] == [("purge", 4, None), ("reward", 4, 40.0)]


def test_a_missing_tensorboard_is_said_once_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    said: list[str] = []

    recorder = Recorder(tmp_path, say=said.append)
    recorder.record("rl", 1, {"loss": 0.5})
    recorder.rewind("rl", 0)

    (sentence,) = said
    assert sentence.startswith("tensorboardX is not installed")
    assert sentence.endswith('pip install "datagen[train]".')


def test_events_that_cannot_be_written_end_no_training(tmp_path):
    (tmp_path / "tensorboard").write_text("a file where a folder should be")
    said: list[str] = []

    recorder = Recorder(tmp_path, say=said.append)
    for step in (1, 2):
        recorder.record("rl", step, {"loss": 0.5})
    recorder.close()

    assert len(read_metrics(tmp_path)) == 2
    assert len(said) == 1
    assert said[0].startswith("TensorBoard events end here, for they cannot be written:")


# --- the table of metrics -------------------------------------------------------------------------------------------


def test_every_measure_of_the_losses_is_explained():
    flat = torch.full((3,), -0.5)
    ones = torch.ones(3)
    batch = TokenBatch(
        logprobs=flat, rows=torch.zeros(3, dtype=torch.int64), n_rows=1, rl_weight=ones, ce_weight=ones, kl_weight=ones,
        advantages=ones, old_logprobs=flat, ref_logprobs=flat, entropy=ones, sampler_logprobs=flat,
    )  # fmt: skip

    names = set(PolicyLoss(dual_clip=3.0)(batch).measures) | set(SupervisedLoss()(batch).measures)

    assert names - set(METRICS) == set()


def test_every_metric_has_a_meaning_and_every_panel_shows_metrics_that_exist():
    assert all(metric.meaning.endswith((".", "counts.")) or ":" in metric.meaning for metric in METRICS.values())
    assert {name for panel in PANELS for name in panel.metrics} - set(METRICS) == set()
    assert metrics_table().count("\n") == len(METRICS) + 2


# --- figures of an update -------------------------------------------------------------------------------------------


def attempt(question: str, *, reward: float | None, correct: bool | None, termination="answered", **figures) -> Rollout:
    ids = np.arange(10)
    part = Sampled(ids, ids >= 4, np.zeros(10, dtype=np.float32))
    return Rollout(question, "r", (part,), reward, correct, termination, **figures)


def figures_of(groups: list[Group], *, now: int = 0) -> dict[str, float]:
    sums = sums_of(groups, groups, groups, now=now) | {"unmended": 0.0, "carrying": 0.0}
    return measures_of(sums) | peaks_of(groups, now=now)


def test_figures_of_attempts_leave_out_what_the_infrastructure_broke():
    groups = [
        Group("q1", (
            attempt("q1", reward=1.0, correct=True, searches=2, visits=1, turns=4, version=7),
            attempt("q1", reward=0.1, correct=False, searches=1, termination="turns", parse_failures=2, turns=2, version=5),
            attempt("q1", reward=None, correct=None, termination="error", version=1),
        )),
        Group("q2", (attempt("q2", reward=0.1, correct=False), attempt("q2", reward=0.1, correct=False))),
        Group("q3", (attempt("q3", reward=None, correct=None, termination="error"),)),
    ]  # fmt: skip

    found = figures_of(groups, now=8)

    assert found["reward"] == pytest.approx(1.3 / 4)
    assert (found["success"], found["tool_calls"], found["parse_failures"]) == (0.25, 1.0, 0.5)
    assert (found["truncated"], found["answered"], found["tokens_per_rollout"]) == (0.25, 0.75, 6.0)
    assert found["infrastructure_failures"] == pytest.approx(2 / 6)
    assert (found["zero_variance"], found["failed_groups"], found["solved_groups"]) == (0.5, 0.5, 0.0)
    assert (found["staleness"], found["staleness_max"]) == ((1 + 3 + 8 + 8) / 4, 8.0)
    assert set(found) <= set(METRICS)


def test_a_batch_that_broke_throughout_measures_nothing():
    found = figures_of([Group("q1", (attempt("q1", reward=None, correct=None, termination="error"),))])

    assert not {"reward", "tool_calls", "zero_variance", "staleness_max"} & found.keys()
    assert found["infrastructure_failures"] == 1.0


def test_figures_of_batches_and_of_updates_are_all_in_the_table():
    report = StepReport(
        version=3, loss=0.5, grad_norm=1.5, clipped=True, learning_rate=1e-4, measures={"entropy": 0.7}, rows=8, bins=2,
        trained_tokens=100, forwarded_tokens=400, padding_share=0.1, seconds=2.0, memory_mb=900.0,
    )  # fmt: skip
    names = {name for figures in MEANS.values() for name in figures} | set(TOTALS) | set(step_measures(report))
    pool = PoolStats(finished=2, wall=4.0, waited=1.0)
    sound = Group("q", (attempt("q", reward=1.0, correct=True),))
    names |= set(pool.figures(asynchronous=True)) | set(peaks_of([sound], now=0))
    names |= {f"replay/{name}" for name in COUNTS} | set(Refill(wanted=1).statistics()) | set(asdict(Counts()))

    assert names - set(METRICS) == set()
