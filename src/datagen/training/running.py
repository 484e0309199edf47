"""A training by its config: everything that `datagen train` does, and what a flow calls.

    done = train(load_config("train_demo"))              or resume=True, as often as it takes
    done.model                                           out/train/demo/model: weights, tokens, manner of talking
    done.evaluations                                     the newest measurement of every set and mode

A process that is killed loses what it did since the last checkpoint, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from datagen import storage
from datagen.config import DatagenConfig, TrainingConfig
from datagen.config.learner import TINY
from datagen.config.practice import PracticeConfig
from datagen.config.training import Mode, changed_training_keys, training_identity
from datagen.errors import ConfigError, RunDirectoryError, boundary
from datagen.pipeline.practising import PracticePlan, make_practice, read_practice
from datagen.rollouts.hindsight import HindsightSettings
from datagen.runs.workers import process_pool
from datagen.synthesis.chains import ChainSettings
from datagen.training.course import MODEL_NAME, Course, Records, Unrecorded
from datagen.training.describing import card_of_run, report_of_run
from datagen.training.distributed import World, distributed
from datagen.training.engine_room import EngineRoom
from datagen.training.episodes import Episodes
from datagen.training.evaluating import evaluate_policy
from datagen.training.grading import Grader, assessor_of, reward_form
from datagen.training.model_card import write_model_card
from datagen.training.monitors import Monitors
from datagen.training.policy_folder import (
    TOKENIZER_NAME,
    describe_framing,
    is_policy,
    new_policy,
)
from datagen.training.progress import Phase, TrainingProgress
from datagen.training.questions import QuestionSet, open_questions
from datagen.training.recording.evaluations import EvaluationRecord
from datagen.training.recording.recorder import Listener, Recorder
from datagen.training.recording.stream import read_evaluations
from datagen.training.reinforce import episode_limits
from datagen.training.report import write_report
from datagen.training.stages import Place, StagePlan, algorithm_of, in_flight, plan_stages, sampling_of, updates_in
from datagen.training.tokenizer import Vocabulary
from datagen.training.vocabulary import questions_of, vocabulary_for

CONFIG_NAME = "config.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left."""

    directory: Path
    evaluations: tuple[EvaluationRecord, ...]
    """Of the last stage, at its end."""
    leads: bool = True
    """False on the ranks beside the first, which say nothing."""

    @property
    def model(self) -> Path:
        return self.directory / MODEL_NAME


def train(
    config: DatagenConfig,
    *,
    resume: bool = False,
    quiet: bool = False,
    report: bool = True,
    listeners: Sequence[Listener] = (),
) -> Trained:
    """Carry all stages to their end, and write the report.

    `listeners` are told what is recorded, beside the progress bar.
    Raises `RunDirectoryError` for a folder that holds another training, or one that was begun where `resume` is not said.
    """
    with distributed() as world:
        return _train(config, world, resume=resume, quiet=quiet or not world.leads, report=report, listeners=listeners)


def _train(
    config: DatagenConfig, world: World, *, resume: bool, quiet: bool, report: bool, listeners: Sequence[Listener]
) -> Trained:
    section = training_of(config)
    run = Path(section.directory)
    monitors = Monitors(stop_on=section.stop_on)
    _refuse_ranks(section, world)
    world.lead(lambda: _claim(config, section, run, resume=resume))
    torch.manual_seed(section.seed)
    disable_progress_bar()  # type: ignore[no-untyped-call]  # there is one for every file
    if section.threads is not None:
        torch.set_num_threads(section.threads)
    world.lead(lambda: practise(section))
    world.lead(lambda: _tokenizer(config, section, run) is not None)
    plans = plan_stages(section)
    with ExitStack() as stack:
        device = "cpu" if world.size > 1 else None  # where it is cut, layer by layer
        policy = new_policy(section.model, _tokenizer(config, section, run), section.seed, device=device)
        room = EngineRoom.of(section.engine, policy, run / "published", world, at_once=in_flight(section))
        stack.callback(room.close)
        progress = stack.enter_context(TrainingProgress(_phases(section), quiet=quiet))
        recorder: Records = Unrecorded()
        if world.leads:
            heard = [progress, *listeners]
            recorder = stack.enter_context(Recorder(run, watchers=[monitors], listeners=heard, say=progress.say))
        place = Place(config, section, policy, room, run, world)
        exam = Exam(place)
        identity = training_identity(section)
        course = Course(run, policy, recorder, exam.measure, identity, section.checkpoints, section.evaluation, world)
        _carry_on(course, place, plans, exam)
    if world.leads:
        count = sum(parameter.numel() for parameter in policy.model.parameters())
        write_model_card(run / MODEL_NAME, card_of_run(run, parameters=count))
        if report:
            write_report(run, report_of_run(run))
    return Trained(run, tuple(_last(read_evaluations(run), plans[-1].name)), world.leads)


def _refuse_ranks(section: TrainingConfig, world: World) -> None:
    """What a model that is cut into parts cannot do."""
    if world.size == 1:
        return
    if section.engine.kind == "local" and (section.rl is not None or section.evaluation.sets):
        raise ConfigError(
            "several ranks hold a part of the model each, so none can sample: serve the model with vLLM and set "
            'training.engine.kind = "server", or start one process.'
        )
    if section.dpo is not None or (section.rl is not None and algorithm_of(section.rl).kl_coef):
        raise ConfigError(
            "a frozen reference model needs one process: leave out [training.dpo] and kl_coef, or torchrun."
        )


def practise(section: TrainingConfig, workers: int = 2) -> None:
    """Make the practice that is missing."""
    missing = [plan for plan in map(practice_plan, section.practice) if read_practice(plan) is None]
    if missing:
        with process_pool(workers) as pool:
            for plan in missing:
                make_practice(plan, pool)


def practice_plan(section: PracticeConfig) -> PracticePlan:
    """What a section of the config asks for."""
    return PracticePlan(
        folder=section.folder,
        snapshot=section.snapshot,
        sources=section.sources,
        candidates=section.candidates,
        seed=section.seed,
        chains=ChainSettings(dict(section.hops), section.relations, section.wordings, section.value_share),
        hindsight=HindsightSettings(shown_chars=section.shown_chars, elsewhere=section.elsewhere),
        split=section.split,
    )


def planned_updates(section: TrainingConfig) -> int | None:
    """Updates of all stages; None where one of them is as long as its questions are many."""
    steps = [phase.steps for phase in _phases(section)]
    return None if None in steps else sum(filter(None, steps))


def _phases(section: TrainingConfig) -> list[Phase]:
    """What progress is measured by; how long a stage of epochs takes is only known when its questions are."""
    phases = [] if section.sft is None else [Phase("sft", section.sft.updates)]
    phases += [] if section.dpo is None else [Phase("dpo", section.dpo.updates)]
    for number, stage in enumerate(section.rl.stages if section.rl is not None else ()):
        assert section.rl is not None
        open_end = stage.updates is None and stage.epochs is not None
        phases.append(Phase(f"rl.{stage.name}", None if open_end else section.rl.stage(number).updates, unit="batches"))
    return phases


def training_of(config: DatagenConfig) -> TrainingConfig:
    """The section; `ConfigError` where there is none."""
    if config.training is None:
        raise ConfigError(
            "this config trains nothing: it has no [training] section. data/presets/train_demo.toml is an example."
        )
    return config.training


def _carry_on(course: Course, place: Place, plans: Sequence[StagePlan], exam: Exam) -> None:
    """Run the stages that are not over; the first of them takes the weights that the one before it left."""
    seen = 0
    in_memory = False
    for number, plan in enumerate(plans):
        if plan.folder.done:
            seen += updates_in(plan)
            continue
        if number and not in_memory:
            before = plans[number - 1]
            course.take_weights(before.folder, before.open(place, seen - updates_in(before)))
        exam.first_version = seen
        course.run(plan.folder, plan.open(place, seen))
        seen += updates_in(plan)
        in_memory = True


class Exam:
    """The sets of questions that a policy is measured on."""

    def __init__(self, place: Place) -> None:
        self.first_version = 0
        """Updates that the weights had seen before the stage."""
        self._place = place
        self._sets: dict[str, QuestionSet] | None = None

    def measure(self, phase: str, step: int, version: int, modes: Sequence[Mode]) -> list[EvaluationRecord]:
        """One record for each set and mode. `version`: updates of the stage that the weights have seen."""
        if not modes or not self._place.section.evaluation.sets:
            return []
        room = self._place.room
        room.renew(self.first_version + version)
        return self._place.world.lead(lambda: self._measured(phase, step, modes))

    def _measured(self, phase: str, step: int, modes: Sequence[Mode]) -> list[EvaluationRecord]:
        room, section = self._place.room, self._place.section
        records = []
        for name, questions in self._opened().items():
            for mode in modes:
                records.append(
                    room.wait(
                        evaluate_policy(
                            room.engine,
                            self._episodes(questions),
                            questions.tasks.values(),
                            mode=mode,
                            seed=section.seed,
                            attempts=section.evaluation.attempts,
                            at_once=sampling_of(section).in_flight,
                            policy=phase,
                            set_name=name,
                            phase=phase,
                            step=step,
                        )
                    )
                )
        return records

    def _episodes(self, questions: QuestionSet) -> Episodes:
        section = self._place.section
        step_reward = section.rl.step_reward if section.rl is not None else None
        grader = Grader(assessor_of(step_reward), reward_form("vanilla"))
        limits = episode_limits(sampling_of(section))
        return Episodes(questions.web, self._place.policy.framing, limits, grader.grade, grader.worth)

    def _opened(self) -> dict[str, QuestionSet]:
        if self._sets is None:
            self._sets = {
                one.name: open_questions(
                    (one.questions,),
                    split=one.split,
                    snapshot=one.snapshot or self._place.config.web.snapshot,
                    count=one.count,
                )
                for one in self._place.section.evaluation.sets
            }
        return self._sets


def _claim(config: DatagenConfig, section: TrainingConfig, run: Path, *, resume: bool) -> None:
    """Begin a folder, or make sure that the one that was begun is this training's."""
    file = str(run / CONFIG_NAME)
    if not storage.exists(file):
        if run.exists() and any(run.iterdir()):
            raise RunDirectoryError(
                f"{run} holds something else; choose another folder with --set training.directory=NEW."
            )
        run.mkdir(parents=True, exist_ok=True)
        storage.write_json(file, config.model_dump(mode="json"))
        return
    with boundary(RunDirectoryError, f"{file} is no config of this program; choose another training.directory"):
        saved = DatagenConfig.model_validate(storage.read_json(file))
    if not resume:
        raise RunDirectoryError(
            f"{run} holds a training that was begun. `datagen train CONFIG --resume` goes on with it; another one needs "
            "another folder: --set training.directory=NEW."
        )
    changed = changed_training_keys(training_of(saved), section)
    changed += ["web.snapshot"] if saved.web.snapshot != config.web.snapshot else []
    if changed:
        raise RunDirectoryError(
            f"{run} was begun with another config (changed: {', '.join(changed)}). Resume with the config that it was begun "
            "with, or train in another folder: --set training.directory=NEW."
        )


def _tokenizer(config: DatagenConfig, section: TrainingConfig, run: Path) -> Vocabulary | None:
    """That of the compact framing, kept with the run, for one that is made from pages may be made once only."""
    model = section.model
    if is_policy(model.path) or describe_framing(model)["framing"] != "compact":
        return None
    file = run / TOKENIZER_NAME
    if file.exists():
        return vocabulary_for(str(file), snapshot="")
    texts = questions_of(section.data) if model.path == TINY and not model.tokenizer else ()
    made = vocabulary_for(model.tokenizer, snapshot=config.web.snapshot, texts=texts, tiny=model.tiny)
    made.save(file)
    return made


def _last(records: Sequence[EvaluationRecord], phase: str) -> list[EvaluationRecord]:
    newest = {(one.set, one.mode): one for one in records if one.phase == phase}
    return list(newest.values())
