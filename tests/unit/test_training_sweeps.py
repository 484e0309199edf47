"""Sweeps: what is planned and refused, what is done again, and what their tables say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from datagen import storage
from datagen.config.sweeps import load_sweep
from datagen.errors import ConfigError, RunDirectoryError
from datagen.training.recording import EvaluationRecord, Recorder
from datagen.training.sft import Count
from datagen.training.stages import algorithm_of
from datagen.training.sweep_curves import mean_curve
from datagen.training.sweep_figures import COLUMNS, COMPUTE, RunFigures
from datagen.training.sweep_table import Cell, tabulate, write_table
from datagen.training.sweeping import SweepPlan, SweepRun, outcome_of, plan_sweep, run_sweep

torch.set_num_threads(1)
SHIPPED = sorted((Path(__file__).parents[2] / "data" / "sweeps").glob("*.toml"))
BASE = """
[training.model]
path = "start/model"
[training.rl]
questions = 4
attempts = 8
[[training.evaluation.sets]]
name = "unseen"
questions = "questions"
"""
SWEEP = """
base = "base.toml"
directory = "sweep"
seeds = [1, 2, 3]
attempts = 64
set = ["training.rl.questions=2"]
[arms]
grpo = ["training.rl.algorithm=grpo"]
scale-only = ["training.rl.algorithm=grpo", "training.rl.overrides={ advantage = { ddof = 0 }, scale = true }"]
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """`sweep("attempts = 64", "attempts = 32")`: the plan of the file above with one line replaced."""
    monkeypatch.chdir(tmp_path)
    Path("base.toml").write_text(BASE)

    def plan(old: str = "", new: str = "", *overlays: str) -> SweepPlan:
        assert old in SWEEP
        Path("tiny.toml").write_text(SWEEP.replace(old, new) if old else SWEEP)
        return plan_sweep("tiny.toml", overlays)

    return plan


def named(runs) -> list[tuple[str, int]]:
    return [(run.arm, run.seed) for run in runs]


# The plan ------------------------------------------------------------------------------------------------------------


def test_all_arms_of_a_seed_come_before_the_next_seed(sweep):
    assert named(sweep().runs) == [
        ("grpo", 1), ("scale-only", 1), ("grpo", 2), ("scale-only", 2), ("grpo", 3), ("scale-only", 3),
    ]  # fmt: skip


def test_an_arm_lays_its_settings_over_those_of_all_arms_and_ends_by_attempts(sweep):
    grpo, scaled = sweep("", "", "training.rl.optimizer.learning_rate=0.5").runs[:2]

    assert (grpo.section.seed, grpo.section.threads, grpo.folder) == (1, 1, Path("sweep/grpo/seed-1"))
    assert (grpo.section.rl.questions, grpo.section.rl.total_attempts) == (2, 64)
    assert grpo.section.rl.optimizer.learning_rate == scaled.section.rl.optimizer.learning_rate == 0.5
    assert (algorithm_of(grpo.section.rl).scale, algorithm_of(grpo.section.rl).advantage.ddof) == (False, 1)
    assert (algorithm_of(scaled.section.rl).scale, algorithm_of(scaled.section.rl).advantage.ddof) == (True, 0)


def test_a_part_of_the_plan_keeps_its_order_and_strangers_are_refused(sweep):
    plan = sweep()

    assert named(plan.part(seeds=[3, 1])) == [("grpo", 1), ("scale-only", 1), ("grpo", 3), ("scale-only", 3)]
    assert named(plan.part(arms=["scale-only"], seeds=[2])) == [("scale-only", 2)]
    with pytest.raises(ConfigError, match=r"rapo, 9 is no part of tiny; its arms are grpo, scale-only"):
        plan.part(["rapo"], [9])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("attempts = 64", "attemps = 64", "attempts: Field required.*the keys are base, directory"),
        ("[1, 2, 3]", "[1, 1]", "each seed is there once"),
        ("scale-only =", '"../up" =', "names of arms are folders"),
        ('"training.rl.algorithm=grpo"]', '"training.model.path=other"]', "different policies"),
        ('"training.rl.algorithm=grpo"]', "\"training.rl.stages=[{name='a', updates=3}]\"]", "stages of their own"),
        ('"training.rl.algorithm=grpo"]', '"training.rl.optimizer.schedule=cosine"]', "laid over updates"),
        ("training.rl.questions=2", "training.sft.updates=3", "imitates or prefers before it reinforces"),
        ("attempts = 64", 'attempts = 64\non = "other"', "no evaluation set 'other'"),
    ],
)
def test_what_would_not_be_comparable_is_refused_in_a_sentence(sweep, old, new, message):
    with pytest.raises(ConfigError, match=message):
        sweep(old, new)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_plan_several_settings_under_several_seeds(path):
    plan = plan_sweep(path.stem)

    assert load_sweep(path) == plan.sweep
    assert len(plan.sweep.arms) >= 3
    assert len(plan.sweep.seeds) >= 3
    identities = {run.section.rl.model_dump_json() for run in plan.runs}
    assert len(identities) == len(plan.sweep.arms)
    for run in plan.runs:
        algorithm_of(run.section.rl)


def test_the_parts_of_rapo_are_laid_over_grpo_one_at_a_time():
    parts = {run.arm: algorithm_of(run.section.rl) for run in plan_sweep("rapo_rare").runs}

    on = {arm: {name for name in ("prune", "scale", "replay") if getattr(found, name)} for arm, found in parts.items()}
    assert on == {
        "grpo": set(), "dapo": set(), "rapo": {"prune", "scale", "replay"}, "prune-only": {"prune"},
        "scale-only": {"scale"}, "replay-only": {"replay"},
    }  # fmt: skip
    assert all(parts[arm].advantage == parts["rapo"].advantage for arm in on if arm.endswith("-only"))
    assert all(parts[arm].loss == parts["rapo"].loss for arm in on if arm.endswith("-only"))


# What is done again --------------------------------------------------------------------------------------------------


def begin(run: SweepRun) -> None:
    """The folder of a training that was begun, as `train` leaves it first."""
    run.folder.mkdir(parents=True)
    storage.write_json(run.folder / "config.json", run.config.model_dump(mode="json"))


def end(run: SweepRun, state: str = "finished", sentence: str = "") -> None:
    storage.write_json(run.outcome_file, {"state": state, "sentence": sentence})


def test_how_far_a_run_is_is_read_from_the_disk(sweep):
    one, two, three, four = sweep().runs[:4]
    for run in (one, two, three):
        begin(run)
    end(one)
    end(two, "failed", "the disk is full.")

    assert [outcome_of(run).state for run in (one, two, three, four)] == ["finished", "failed", "begun", "missing"]
    assert outcome_of(two).sentence == "the disk is full."


def test_finished_runs_are_not_trained_again(sweep):
    plan, told = sweep(), []
    for run in plan.runs:
        begin(run)
        end(run)

    ends = run_sweep(plan, workers=2, tell=told.append)

    assert [one.state for one in ends] == ["finished"] * 6
    assert told == []


def test_a_run_under_other_settings_is_neither_gone_on_with_nor_told(sweep):
    begin(sweep().runs[0])
    changed = sweep("", "", "training.rl.optimizer.learning_rate=0.5")

    for act in (run_sweep, tabulate):
        with pytest.raises(
            RunDirectoryError, match=r"grpo/seed-1 was trained under other settings.*learning_rate.*rm -r"
        ):
            act(changed)


def test_the_attempts_that_end_a_run_are_those_of_before_a_resume_as_well():
    count, resumed = Count(), Count()
    count.add(100, attempts=16)
    count.add(100, attempts=8)

    resumed.load_state_dict(count.state_dict())
    resumed.add(100, attempts=1)

    assert (resumed.updates, resumed.tokens, resumed.attempts) == (3, 300, 25)


def test_a_sweep_without_a_start_says_where_it_was_looked_for(sweep):
    with pytest.raises(ConfigError, match=r"start/model holds no \*\.safetensors"):
        run_sweep(sweep())


def test_arms_do_not_begin_with_other_weights_than_those_that_were_trained(sweep):
    plan = sweep()
    Path("start/model").mkdir(parents=True)
    Path("start/model/model.safetensors").write_bytes(b"trained anew")
    begin(plan.runs[0])
    storage.write_json(plan.folder / "start.json", {"asked": {"weights": "of before"}, "records": []})

    with pytest.raises(RunDirectoryError, match=r"start/model has other weights than the runs in sweep began with"):
        run_sweep(plan)


# What it came to -----------------------------------------------------------------------------------------------------


def write_run(run: SweepRun, success: tuple[float, float], *, groups: int = 2, tied: float = 0.5) -> None:
    """A finished run of updates that sample `groups` groups of 8 each, measured in the middle and at the end."""
    begin(run)
    updates = 64 // (8 * groups)
    with Recorder(run.folder, tensorboard=False) as recorder:
        for step in range(1, updates + 1):
            recorder.record(
                "rl.rl", step,
                {
                    "groups": groups, "zero_variance": tied, "tokens_per_rollout": 20.0 * step, "entropy": 1.0 / step,
                    "trained_tokens": 100.0, "sampled_tokens": 160.0, "carrying": 8.0, "replayed": 1.0, "updates": 1.0,
                    "pool/pruned": float(step), "step_s": 2.0, "tool_calls": None,
                },
            )  # fmt: skip
        for step, share in zip((updates // 2, updates), success, strict=True):
            recorder.evaluation(measured(share, step))
    end(run)


def measured(share: float, step: int, mode: str = "greedy", policy: str = "rl.rl") -> EvaluationRecord:
    right = round(100 * share)
    outcomes = {f"q{number}": [number < right] for number in range(100)}
    return EvaluationRecord.of(policy, "unseen", mode, outcomes, phase="rl.rl", step=step)


def write_start(plan: SweepPlan, share: float = 0.1) -> None:
    plan.folder.mkdir(exist_ok=True)
    storage.write_json(
        plan.folder / "start.json", {"asked": {}, "records": [measured(share, 0, policy="start").to_line()]}
    )


@pytest.fixture
def partial(sweep) -> SweepPlan:
    """Three seeds of grpo; two of scale-only, whose third failed. Its updates sample four groups instead of two."""
    plan = sweep()
    write_start(plan)
    ends = {1: (0.20, 0.30), 2: (0.20, 0.32), 3: (0.20, 0.34)}
    for run in plan.runs:
        if run.arm == "grpo":
            write_run(run, ends[run.seed])
        elif run.seed < 3:
            write_run(run, (0.40, ends[run.seed][1] + 0.01 * run.seed), groups=4, tied=0.25)
    end(plan.runs[-1], "failed", "the loss is no number.")
    return plan


def column(name: str):
    return next(one for one in (*COLUMNS["algorithms"], *COMPUTE) if one.name == name)


def test_a_difference_is_taken_seed_by_seed_with_students_interval():
    first, second = Cell({1: 0.30, 2: 0.50, 3: 0.40, 4: 0.9}), Cell({1: 0.32, 2: 0.54, 3: 0.46})

    difference = second.less(first)

    # 0.02, 0.04, 0.06: mean 0.04, deviation 0.02, and t(0.975, 2) = 4.302653 of its 0.02 / sqrt(3)
    assert difference.values == pytest.approx({1: 0.02, 2: 0.04, 3: 0.06})
    assert difference.interval.value == pytest.approx(0.04)
    assert difference.interval.high - 0.04 == pytest.approx(0.0496828, abs=1e-6)
    assert 0.04 - difference.interval.low == pytest.approx(0.0496828, abs=1e-6)


def test_one_seed_has_a_mean_and_no_interval():
    assert (Cell({4: 0.5}).mean, Cell({4: 0.5}).interval) == (0.5, None)
    assert (Cell({}).mean, Cell({}).interval) == (None, None)


def test_means_are_over_the_seeds_that_are_there_and_differences_over_shared_ones(partial):
    table = tabulate(partial)

    assert table.cell("grpo", column("success, greedy")).values == pytest.approx({1: 0.30, 2: 0.32, 3: 0.34})
    assert table.difference("scale-only", column("success, greedy")).values == pytest.approx({1: 0.01, 2: 0.02})
    assert table.shared == [1, 2]
    assert table.cell("grpo", column("success, T = 1")).values == {}


def test_curves_lie_over_attempts_whatever_an_update_samples(partial):
    grpo, scaled = (next(run for run in tabulate(partial).runs if run.arm == arm) for arm in ("grpo", "scale-only"))

    assert grpo.success("greedy") == [(0, 0.1), (32, 0.2), (64, 0.3)]
    assert scaled.success("greedy") == [(0, 0.1), (32, 0.4), (64, pytest.approx(0.31))]
    # halves of a trapezoid each: (0.1 + 0.2) / 2 and (0.2 + 0.3) / 2
    assert grpo.area("greedy") == pytest.approx((0.15 + 0.25) / 2)
    assert scaled.area("greedy") == pytest.approx((0.25 + 0.355) / 2)


def test_an_area_needs_the_start_and_stops_at_the_budget():
    run = RunFigures("a", 1, (), (measured(0.1, 0),), 8, 64)

    assert run.area("greedy") is None
    assert run.final("greedy") is None


def test_means_over_a_run_weigh_updates_by_what_they_sampled_and_sums_are_whole(partial):
    grpo = tabulate(partial).runs[0]

    assert grpo.spent == [16, 32, 48, 64]
    assert column("tied groups").measure(grpo) == 0.5
    assert column("tokens").measure(grpo) == 50
    assert column("entropy").measure(grpo) == 0.25  # the last quarter is the last of four updates
    assert column("replayed").measure(grpo) == 4
    assert column("pruned").measure(grpo) == 4
    assert column("attempts").measure(grpo) == 64
    assert column("seconds").measure(grpo) == 8
    assert column("tokens sampled").measure(grpo) == 640
    assert grpo.mean("tool_calls") is None


def test_a_table_says_which_seeds_are_missing_and_why(partial):
    text = tabulate(partial).markdown()

    assert "Finished: 5 of 6 runs." in text
    assert "**This sweep is not whole**: of seeds 1, 2, 3, seeds 1, 2 are there in every arm." in text
    assert "Missing of scale-only: seed 3 (failed: the loss is no number.)." in text
    assert "Missing of grpo" not in text
    assert "| start |  | 10.0 |" in text
    assert "| grpo | 3 | 32.0 [27.0, 37.0] | not measured |" in text
    assert "| scale-only | 2 | +1.5 [-4.9, +7.9] | not measured |" in text
    assert "- scale-only: `training.rl.algorithm=grpo`, `training.rl.overrides=" in text


def test_a_whole_sweep_says_so(sweep):
    plan = sweep("[1, 2, 3]", "[5]")
    write_start(plan)
    for run in plan.runs:
        write_run(run, (0.2, 0.3))

    text = tabulate(plan).markdown()

    assert "Every arm has all its seeds: 5." in text
    assert "| grpo | 1 | 30.0 (one seed) |" in text
    assert "not whole" not in text


def test_a_sweep_that_was_not_begun_has_a_table_without_figures(sweep):
    table = write_table(sweep())

    assert "Missing of grpo: seed 1 (not begun), 2 (not begun), 3 (not begun)." in table.markdown()
    assert not Path("sweep/curves.png").exists()


def test_the_files_hold_the_same_figures_and_a_picture(partial):
    write_table(partial)

    told = json.loads(Path("sweep/table.json").read_text())
    assert told["arms"]["grpo"]["success, greedy"]["seeds"] == pytest.approx({"1": 0.30, "2": 0.32, "3": 0.34})
    assert told["differences"]["scale-only"]["success, greedy"]["mean"] == pytest.approx(0.015)
    assert told["open"] == [{"arm": "scale-only", "seed": 3, "state": "failed", "sentence": "the loss is no number."}]
    assert told["seeds_of_all_arms"] == [1, 2]
    assert Path("sweep/table.md").read_text() == tabulate(partial).markdown()
    picture = Path("sweep/curves.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    write_table(partial)
    assert Path("sweep/curves.png").read_bytes() == picture


def test_a_mean_curve_is_read_off_where_all_runs_are():
    at, middle, half = mean_curve([[(0, 0.0), (10, 1.0)], [(0, 0.0), (20, 4.0)]], budget=100)

    assert (at[0], at[-1]) == (0, 10)
    assert middle[-1] == pytest.approx(1.5)  # 1 and 2
    assert half[-1] == pytest.approx(12.7062 * 0.5, rel=1e-4)  # t(0.975, 1) times 0.7071 / sqrt(2)
    assert half[0] == 0


def test_a_steering_table_tells_what_calls_were_worth(sweep):
    plan = sweep("attempts = 64", 'attempts = 64\ntable = "steering"')
    run = plan.runs[0]
    begin(run)
    with Recorder(run.folder, tensorboard=False) as recorder:
        for step in range(1, 5):
            labels = {
                "unique_searches": float(step),
                "explorations": 2.0,
                "redundant_searches": 0.5,
                "redundant_queries": 0.25,
            }
            recorder.record("rl.rl", step, {"groups": 2, "tool_calls": 6.0, **labels})
    end(run)

    row = next(line for line in tabulate(plan).markdown().splitlines() if line.startswith("| grpo | 1 |"))

    assert row.split(" | ")[2:7] == [
        "4.000 (one seed)", "2.000 (one seed)", "not measured", "0.750 (one seed)", "6.000 (one seed)",
    ]  # fmt: skip
