"""Several settings of one training beside each other: every arm under every seed, each run a training of its own.

    plan = plan_sweep("rapo_rare")
    run_sweep(plan, workers=2)

    out/sweeps/rapo-rare/
      start.json                the policy that all runs begin with, measured before any of them
      grpo/seed-1/              a training, as `datagen train` leaves it
      grpo/seed-1.json          how it ended: finished, or the sentence of its failure
      rapo/seed-1/ ...
      table.md, table.json, curves.png

All seeds of one number come before those of the next, so a sweep that is cut short compares all arms on fewer seeds. A run
has a process and one thread for itself; one that fails costs itself alone, and is tried again by the next call. Finished
runs are skipped, begun ones go on from their checkpoints.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from datagen import storage
from datagen.config import DatagenConfig, TrainingConfig, load_config
from datagen.config.sweeps import SweepConfig, load_sweep
from datagen.config.training import changed_training_keys
from datagen.errors import ConfigError, DatagenError, RunDirectoryError, TrainingError, WorkerDiedError, boundary
from datagen.pipeline.trained import weights_digest
from datagen.runs.workers import end_with_parent

State = Literal["finished", "failed", "begun", "missing"]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""Read when a library is loaded, so they are set in a process that has loaded none of them."""
START_FILE = "start.json"
CONFIG_FILE = "config.json"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One arm under one seed."""

    arm: str
    seed: int
    config: DatagenConfig

    @property
    def section(self) -> TrainingConfig:
        assert self.config.training is not None, "a plan has none without"
        return self.config.training

    @property
    def folder(self) -> Path:
        return Path(self.section.directory)

    @property
    def outcome_file(self) -> Path:
        """Beside the folder, which is the training's own."""
        return self.folder.with_name(f"{self.folder.name}.json")


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """All runs, in the order in which they are begun."""

    name: str
    sweep: SweepConfig
    runs: tuple[SweepRun, ...]

    @property
    def folder(self) -> Path:
        return Path(self.sweep.directory)

    def part(self, arms: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[SweepRun]:
        """The runs of these arms and seeds, all where none are named. Raises `ConfigError` for one that is not planned."""
        strangers = [*(set(arms) - set(self.sweep.arms)), *map(str, set(seeds) - set(self.sweep.seeds))]
        if strangers:
            raise ConfigError(
                f"{', '.join(strangers)} is no part of {self.name}; its arms are {', '.join(self.sweep.arms)}, its seeds "
                f"{', '.join(map(str, self.sweep.seeds))}."
            )
        return [run for run in self.runs if (not arms or run.arm in arms) and (not seeds or run.seed in seeds)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a run is."""

    arm: str
    seed: int
    state: State
    sentence: str = ""
    """Of a failure."""


# The plan ------------------------------------------------------------------------------------------------------------


def plan_sweep(path: str | Path, overlays: Sequence[str] = ()) -> SweepPlan:
    """Read a sweep and the config of each of its runs; seed by seed, and within a seed arm by arm.

    Raises `ConfigError` where arms would not be comparable: another start, or compute that attempts do not measure.
    """
    sweep = load_sweep(path, overlays)
    runs = tuple(_run(sweep, arm, seed) for seed in sweep.seeds for arm in sweep.arms)
    starts = {run.section.model.path for run in runs}
    if len(starts) > 1:
        raise ConfigError(
            f"{path}: arms begin with different policies ({', '.join(sorted(starts))}); leave training.model.path alone."
        )
    sets = [one.name for one in runs[0].section.evaluation.sets]
    if not sets or (sweep.on and sweep.on not in sets):
        raise ConfigError(
            f"{path}: there is no evaluation set {sweep.on!r} to compare on; [training.evaluation] has "
            f"{', '.join(sets) or 'none'}."
        )
    return SweepPlan(Path(path).stem, sweep, runs)


def _run(sweep: SweepConfig, arm: str, seed: int) -> SweepRun:
    laid = (*sweep.set, *sweep.arms[arm])
    _refuse(sweep, arm, load_config(sweep.base, laid))
    own = (
        f"training.seed={seed}",
        f'training.directory="{Path(sweep.directory, arm, f"seed-{seed}")}"',
        "training.threads=1",
        f"training.rl.total_attempts={sweep.attempts}",
        # Attempts end the run; as an update samples a group at least, so many updates never do.
        f"training.rl.updates={sweep.attempts}",
    )
    return SweepRun(arm, seed, load_config(sweep.base, [*laid, *own]))


def _refuse(sweep: SweepConfig, arm: str, config: DatagenConfig) -> None:
    """What would make compute unequal, or its measure meaningless."""
    section = config.training
    rl = None if section is None else section.rl
    if section is None or rl is None:
        raise ConfigError(
            f"{sweep.base} has no [training.rl]; a sweep compares reinforcement, whose compute is attempts."
        )
    if section.sft is not None or section.dpo is not None:
        raise ConfigError(
            f"{sweep.base} imitates or prefers before it reinforces, and every run would do it again: train that once, and "
            "give its model folder as training.model.path (--set training.sft=none leaves a section out)."
        )
    if len(rl.stages) > 1 or rl.stages[0].updates is not None or rl.stages[0].epochs is not None:
        raise ConfigError(
            f"arm {arm} of {sweep.base} has stages of their own length; a sweep ends each run by its attempts."
        )
    if rl.optimizer.schedule != "constant":
        raise ConfigError(
            f"arm {arm}: the schedule {rl.optimizer.schedule!r} is laid over updates, and arms make different numbers of "
            'them from as many attempts; set training.rl.optimizer.schedule="constant".'
        )


# What is there -------------------------------------------------------------------------------------------------------


def outcome_of(run: SweepRun) -> Outcome:
    """How far a run is, by what lies on the disk."""
    if run.outcome_file.exists():
        told = storage.read_json(run.outcome_file)
        return Outcome(run.arm, run.seed, told["state"], told["sentence"])
    return Outcome(run.arm, run.seed, "begun" if (run.folder / CONFIG_FILE).exists() else "missing")


def refuse_other_settings(plan: SweepPlan) -> None:
    """Raise `RunDirectoryError` where a run of the folder was made under other settings than the plan has now."""
    for run in plan.runs:
        file = run.folder / CONFIG_FILE
        if not file.exists():
            continue
        saved = DatagenConfig.model_validate(storage.read_json(file))
        assert saved.training is not None, "a training wrote it"
        changed = changed_training_keys(saved.training, run.section)
        changed += ["web.snapshot"] if saved.web.snapshot != run.config.web.snapshot else []
        if changed:
            raise RunDirectoryError(
                f"{run.folder} was trained under other settings (changed: {', '.join(changed)}). Give the sweep another "
                f"directory, or remove that run with `rm -r {run.folder} {run.outcome_file}`."
            )


# Running -------------------------------------------------------------------------------------------------------------


def run_sweep(
    plan: SweepPlan,
    workers: int = 1,
    *,
    only: Sequence[SweepRun] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """Carry all runs, or `only` these, to their ends; returns how each ended. `tell` hears of each as it ends.

    Raises what keeps every run from beginning: a start that is no policy, practice that cannot be made.
    """
    refuse_other_settings(plan)
    wanted = list(plan.runs if only is None else only)
    left = [run for run in wanted if outcome_of(run).state != "finished"]
    if left:
        weights = weights_digest(plan.runs[0].section.model.path)
        _refuse_other_start(plan, weights)
        if _start(plan).get("asked") != _asked(plan.runs[0].section, weights):
            _in_process(prepare, plan, weights)
    slots = ThreadPoolExecutor(workers, thread_name_prefix="sweep")
    try:
        futures = [slots.submit(_carried, run) for run in left]
        for place, future in enumerate(as_completed(futures), start=1):
            outcome, seconds = future.result()
            ended = f"{outcome.state}{f': {outcome.sentence}' if outcome.sentence else ''}"
            tell(
                f"{outcome.arm}, seed {outcome.seed}: {ended} ({seconds:,.0f} s, {len(left) - place} of {len(left)} left)"
            )
    finally:
        slots.shutdown(wait=True, cancel_futures=True)
    return [outcome_of(run) for run in wanted]


def _carried(run: SweepRun) -> tuple[Outcome, float]:
    """Train one run to its end, and write down how it ended."""
    began = time.monotonic()
    with _held(run.outcome_file.with_suffix(".lock")) as mine:
        if mine and outcome_of(run).state != "finished":
            outcome = _trained(run)
            storage.write_json(run.outcome_file, {"state": outcome.state, "sentence": outcome.sentence})
        elif not mine:
            outcome = Outcome(run.arm, run.seed, "begun", "another process trains it")
        else:
            outcome = outcome_of(run)
    return outcome, time.monotonic() - began


def _trained(run: SweepRun) -> Outcome:
    try:
        # A fault of ours in one run is no reason to lose the others; its sentence is in the table.
        with boundary(TrainingError, "training broke"):
            _in_process(train_run, run.config)
    except DatagenError as exc:
        return Outcome(run.arm, run.seed, "failed", str(exc))
    return Outcome(run.arm, run.seed, "finished")


def train_run(config: DatagenConfig) -> None:
    """What the process of one run does."""
    from datagen.training.running import train

    train(config, resume=True, quiet=True, report=False)


def prepare(plan: SweepPlan, weights: str) -> None:
    """Make the practice that is missing, once for all runs, and measure the policy that they begin with."""
    from datagen.training.running import practise

    section = plan.runs[0].section
    practise(section)
    plan.folder.mkdir(parents=True, exist_ok=True)
    records = _measured(plan.runs[0].config, section)
    storage.write_json(plan.folder / START_FILE, {"asked": _asked(section, weights), "records": records})


def _start(plan: SweepPlan) -> dict[str, Any]:
    file = plan.folder / START_FILE
    return dict(storage.read_json(file)) if file.exists() else {}


def _asked(section: TrainingConfig, weights: str) -> dict[str, Any]:
    """What there was to prepare; where it differs, the start is measured again."""
    return {
        "weights": weights,
        "evaluation": section.evaluation.model_dump(mode="json"),
        "practice": [one.model_dump(mode="json") for one in section.practice],
    }


def _refuse_other_start(plan: SweepPlan, weights: str) -> None:
    """Arms of one table begin with the same weights, also where one of them is trained a week later."""
    before = _start(plan).get("asked", {}).get("weights", weights)
    if before != weights and any(outcome_of(run).state != "missing" for run in plan.runs):
        raise RunDirectoryError(
            f"{plan.runs[0].section.model.path} has other weights than the runs in {plan.folder} began with. Give the sweep "
            f"another directory, or begin it anew after `rm -r {plan.folder}`."
        )


def _measured(config: DatagenConfig, section: TrainingConfig) -> list[dict[str, Any]]:
    from dataclasses import replace

    from datagen.training.examining import ExamPlan, examine
    from datagen.training.stages import sampling_of

    records = []
    for one in section.evaluation.sets:
        plan = ExamPlan(
            snapshot=one.snapshot or config.web.snapshot,
            questions=(one.questions,),
            split=one.split,
            count=one.count,
            modes=tuple(dict.fromkeys((*section.evaluation.modes, *section.evaluation.final_modes))),
            attempts=section.evaluation.attempts,
            seed=section.seed,
            sampling=sampling_of(section),
            device=section.model.device,
            max_batch=section.engine.max_batch,
        )
        found = examine(section.model.path, plan)
        records += [replace(record, policy="start", set=one.name).to_line() for record in found]
    return records


def _in_process(work: Callable[..., Result], *arguments: object) -> Result:
    """Call it in a fresh interpreter with one thread. Raises what it raises, and `WorkerDiedError` where it dies."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned, initializer=_alone) as process:
        try:
            return process.submit(work, *arguments).result()
        except BrokenProcessPool as exc:
            raise WorkerDiedError(
                "its process died (out of memory, or killed). `datagen sweep FILE` goes on from its last checkpoint; fewer "
                "--workers need less memory."
            ) from exc


def _alone() -> None:
    os.environ.update(dict.fromkeys(THREADS, "1"))
    end_with_parent()


@contextmanager
def _held(file: Path) -> Iterator[bool]:
    """Whether this process alone works on a run; the system lets go when the process ends, however it ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
