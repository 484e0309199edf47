"""One training from beginning to end: stages, one after the other, each of which can be killed and taken up again.

    out/train/demo/
      config.json                      what was asked for; a resume has to agree on what changes weights
      stages/00-sft/checkpoints/       the stage while it runs
      stages/00-sft/done.json          written last: the stage is over, and its last checkpoint stays
      stages/01-rl.vanilla/...
      metrics.jsonl, evaluations.jsonl, alarms.jsonl, tensorboard/
      report.html, curves/              written when the last stage is over
      model/                           the policy after the last stage that is over

A stage is a `Loop`: it makes one update at a time and says what it measured. Everything around an update is here: figures,
evaluations, checkpoints, and what happens when an update cannot be made. Weights pass from one stage to the next; the
optimiser does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from datagen import storage
from datagen.config.training import CheckpointsConfig, EvaluationSection, Mode
from datagen.errors import EngineError, TrainingError
from datagen.training.checkpoints import Checkpoints
from datagen.training.distributed import World
from datagen.training.learner import Learner
from datagen.training.policy_folder import TrainedPolicy, save_policy
from datagen.training.recording.evaluations import EvaluationRecord
from datagen.training.state import Stateful, TrainingState

DONE_NAME = "done.json"
CHECKPOINTS_NAME = "checkpoints"
MODEL_NAME = "model"


class Loop(Protocol):
    """One stage."""

    @property
    def name(self) -> str:
        """Such as "sft" or "rl.vanilla"."""
        ...

    @property
    def learner(self) -> Learner: ...

    @property
    def updates(self) -> int:
        """Updates that were made; what `update` does counts as one."""
        ...

    @property
    def done(self) -> bool: ...

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """Everything that moves beside weights and optimiser."""
        ...

    def begin(self) -> None:
        """Called once, when weights and parts are those to go on from."""
        ...

    def update(self) -> Mapping[str, float | None]:
        """Make one update and say what was measured. Raises `TrainingError` where none can be made."""
        ...


Measure = Callable[[str, int, int, Sequence[Mode]], Sequence[EvaluationRecord]]
"""(name of the stage, its updates, updates of the weights in it, modes) to one record for each set and mode."""


class Records(Protocol):
    """What is recorded of a run; `recording.Recorder` on the first rank, `Unrecorded` on the others."""

    def record(self, phase: str, step: int, values: Mapping[str, float | None]) -> object: ...

    def evaluation(self, record: EvaluationRecord) -> object: ...

    def rewind(self, phase: str, step: int) -> object: ...

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> object: ...


class Unrecorded:
    """The records of a rank that keeps none."""

    def record(self, phase: str, step: int, values: Mapping[str, float | None]) -> None:
        """The first rank does."""

    def evaluation(self, record: EvaluationRecord) -> None:
        """The first rank does."""

    def rewind(self, phase: str, step: int) -> None:
        """There is nothing."""

    def state_dict(self) -> Mapping[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What the first rank kept is no concern of this one."""


@dataclass(frozen=True, slots=True)
class StageFolder:
    """Where one stage keeps what it needs to go on."""

    path: Path

    @classmethod
    def of(cls, run: str | Path, number: int, name: str) -> StageFolder:
        return cls(Path(run, "stages", f"{number:02d}-{name}"))

    @property
    def done(self) -> bool:
        return (self.path / DONE_NAME).exists()

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS_NAME


@dataclass(frozen=True, slots=True)
class Course:
    """What all stages share."""

    folder: Path
    policy: TrainedPolicy
    recorder: Records
    measure: Measure
    identity: Mapping[str, Any]
    """What a resume has to agree on."""
    checkpoints: CheckpointsConfig
    evaluation: EvaluationSection
    world: World

    def run(self, stage: StageFolder, loop: Loop) -> None:
        """Carry a stage to its end, from its newest checkpoint where it has one."""
        kept = Checkpoints(
            stage.checkpoints,
            self.checkpoints.keep,
            identity=self.identity,
            world=self.world,
            go_on="go on with `datagen train CONFIG --resume`",
        )
        state = self._state(loop)
        if kept.latest() is not None:
            kept.load(state)
        else:
            self.recorder.rewind(loop.name, -1)
            kept.save(0, state)
        loop.begin()
        while not loop.done:
            with self._explained(loop, kept):
                measured = loop.update()
                self._record(partial(self.recorder.record, loop.name, loop.updates, measured))
                if not loop.done and _due(loop.updates, self.evaluation.every):
                    self._evaluate(loop, self.evaluation.modes)
            if not loop.done and _due(loop.updates, self.checkpoints.every):
                kept.save(loop.updates, state)
        with self._explained(loop, kept):
            self._evaluate(loop, self.evaluation.final_modes)
        saved = kept.save(loop.updates, state, lasting=True)
        save_policy(self.policy, self.folder / MODEL_NAME, self.world)
        done = {
            "stage": loop.name,
            "updates": loop.updates,
            "weights": loop.learner.version,
            "checkpoint": saved.folder.name,
        }
        self.world.lead(lambda: storage.write_json(str(stage.path / DONE_NAME), done))

    def take_weights(self, stage: StageFolder, loop: Loop) -> None:
        """The weights that a stage left, for the stage after it. `loop` is that stage's, as it was opened."""
        there = self._state(loop)
        unused = TrainingState(there.model, there.optimizers, dict.fromkeys(there.parts, _Unused()))
        before = Checkpoints(stage.checkpoints, self.checkpoints.keep, identity=self.identity, world=self.world)
        before.load(unused)

    def _state(self, loop: Loop) -> TrainingState:
        parts = {**loop.parts, "recorder": self.recorder, "progress": loop.learner.progress}
        return TrainingState(loop.learner.weights, loop.learner.optimizer.parts, parts)

    def _evaluate(self, loop: Loop, modes: Sequence[Mode]) -> None:
        for record in self.measure(loop.name, loop.updates, loop.learner.version, modes):
            self._record(partial(self.recorder.evaluation, record))

    def _record(self, work: Callable[[], object]) -> None:
        """On the first rank an alarm may end the run, and no other waits for it then."""
        self.world.together(work)

    @contextmanager
    def _explained(self, loop: Loop, kept: Checkpoints) -> Iterator[None]:
        """An update that cannot be made ends the training, and the message says where to go on from."""
        try:
            yield
        except (TrainingError, EngineError) as exc:
            newest = kept.latest()
            whole = (
                f"The checkpoint of update {newest.step} is whole ({newest.folder})" if newest else "There is none yet"
            )
            raise type(exc)(
                f"{loop.name} ended after update {loop.updates}: {exc} {whole}; `datagen train CONFIG --resume` goes on from "
                "there, and `--set` takes another learning rate for a new training."
            ) from exc


class _Unused:
    """Stands for a part of a stage that is over: only its weights are wanted."""

    def state_dict(self) -> Mapping[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing is kept of it."""


def _due(updates: int, every: int) -> bool:
    return every > 0 and updates % every == 0
