"""What a run's own folder says about it: the words of its report and of its model's card.

    write_report(run, report_of_run(run, samples=...))
    write_model_card(run / "model", card_of_run(run))

All of it is read back from `config.json` and from what was recorded, so both can be made again at any time, of any run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from datagen import storage
from datagen.config import DatagenConfig, TrainingConfig
from datagen.config.learner import TINY
from datagen.errors import RunDirectoryError, boundary
from datagen.training.model_card import ModelCard
from datagen.training.recording import read_evaluations
from datagen.training.report import Arm, Report, Sample
from datagen.web.snapshot import Snapshot

CONFIG_NAME = "config.json"


def report_of_run(
    folder: Path | str,
    *,
    arms: Mapping[str, Path | str] | None = None,
    samples: Sequence[Sample] = (),
    notes: Sequence[str] = (),
) -> Report:
    """The report of a run; `arms` are runs to set beside it, itself first, by name."""
    config, section = _read(folder)
    return Report(
        title=f"Training in {Path(folder).name}",
        weakened_start=section.preface,
        arms=arms or {},
        settings={"training": section.model_dump(mode="json", exclude={"preface"})},
        lineage=_lineage(config, section),
        samples=samples,
        notes=notes,
    )


def card_of_run(
    folder: Path | str,
    *,
    parameters: int | None = None,
    controls: Mapping[str, Path | str] | None = None,
    seeds: Sequence[int] = (),
) -> ModelCard:
    """The card of the model that a run left; `controls` are other runs to compare with, `seeds` those of its siblings too."""
    config, section = _read(folder)
    model, adapters = section.model, section.model.lora is not None
    on_hub = model.path != TINY and not Path(model.path).exists() and model.path.count("/") == 1
    compact = model.framing == "compact" or (model.framing == "auto" and model.path == TINY)
    return ModelCard(
        name=Path(folder).name,
        base_model=model.path if on_hub else None,
        begun_from="" if on_hub or model.path == TINY else model.path,
        adapters=adapters and on_hub,
        framing="compact" if compact else "chat",
        parameters=parameters,
        stages=tuple(_stages(section, Arm.read("", folder))),
        lineage=_lineage(config, section),
        seeds=tuple(seeds) or (section.seed,),
        evaluations=read_evaluations(folder),
        controls={name: read_evaluations(place) for name, place in (controls or {}).items()},
        weakened_start=section.preface,
        load_path=str(Path(folder, "model")),
        snapshot=config.web.snapshot or "SNAPSHOT",
        questions=next(iter(section.data.releases), "RELEASE"),
    )


def _read(folder: Path | str) -> tuple[DatagenConfig, TrainingConfig]:
    file = Path(folder, CONFIG_NAME)
    if not file.is_file():
        raise RunDirectoryError(
            f"{folder} has no {CONFIG_NAME}; give the directory of a training, such as out/train/demo."
        )
    with boundary(RunDirectoryError, f"{file} is no config of this program; give the directory of a training"):
        config = DatagenConfig.model_validate(storage.read_json(file))
    if config.training is None:
        raise RunDirectoryError(f"{file} has no section on training; give the directory of a training.")
    return config, config.training


def _lineage(config: DatagenConfig, section: TrainingConfig) -> dict[str, str | int]:
    sets = {
        f"evaluation set {one.name}": f"{one.questions}, split {one.split}, searched in {one.snapshot or config.web.snapshot}"
        for one in section.evaluation.sets
    }
    return {
        "releases": ", ".join(section.data.releases),
        "split": section.data.split,
        "snapshot": _snapshot(config.web.snapshot),
        "seed": section.seed,
        "began with": "random weights" if section.model.path == TINY else section.model.path,
        **sets,
        "code": f"datagen {version('datagen')}",
    }


def _snapshot(path: str) -> str:
    """The folder, with the digest of its content while it is there."""
    there = storage.exists(storage.join(path, storage.MANIFEST_NAME))
    return f"{path}, {Snapshot.open(Path(path)).digest}" if there else path


def _stages(section: TrainingConfig, run: Arm) -> Iterator[str]:
    """A sentence for each stage that made updates."""
    made = {line.phase: line.step for line in run.lines}
    tokens = {phase: _tokens(run, phase) for phase in made}
    if section.sft is not None and "sft" in made:
        which = "verified attempts" if section.data.verified else "attempts"
        yield f"Imitation of {which} (sft): {_times(made['sft'], 'update')} of {section.sft.rows_per_update}{tokens['sft']}."
    if section.dpo is not None and "dpo" in made:
        yield (
            f"Preference between attempts (dpo): {_times(made['dpo'], 'update')} of {section.dpo.pairs_per_update} pairs{tokens['dpo']}."
        )
    for number, stage in enumerate(section.rl.stages if section.rl is not None else ()):
        phase = f"rl.{stage.name}"
        if section.rl is not None and phase in made:
            set_up = section.rl.stage(number)
            yield (
                f"Reinforcement with {set_up.algorithm} and the reward {set_up.reward} ({phase}): {_times(made[phase], 'batch')} of "
                f"{set_up.questions} questions with {set_up.attempts} attempts each{tokens[phase]}."
            )


def _times(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}{'es' if what.endswith('ch') else 's'}"


def _tokens(run: Arm, phase: str) -> str:
    values = [line.values.get("trained_tokens") for line in run.lines if line.phase == phase]
    known = [value for value in values if value is not None]
    return f", {sum(known):,.0f} trained tokens" if known and len(known) == len(values) else ""
