"""A sweep: one training under several settings, each with several seeds, from one policy and with as many attempts.

    base = "train_demo_rl"                       a config or preset with [training.rl]
    directory = "out/sweeps/rapo-rare"
    seeds = [1, 2, 3, 4, 5]
    attempts = 7680                              of every run, whatever its algorithm needs for an update
    on = "three hops"                            the evaluation set that the table is about
    set = ["training.rl.updates=40"]             laid over the base, as --set would
    [arms]
    grpo = ["training.rl.algorithm=grpo"]        laid over that
    rapo = ["training.rl.algorithm=rapo"]

A sweep is a file of its own, beside configs: shipped ones are in data/sweeps/ and are found by their name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal as OneOf
from typing import Self

from pydantic import Field, ValidationError, model_validator

from datagen.config.section import Section
from datagen.errors import ConfigError
from datagen.records.shipped import shipped_file

Overlays = tuple[str, ...]
TableName = OneOf["algorithms", "steering"]


class SweepConfig(Section):
    """The whole file."""

    base: str
    """A config, or a preset by its name."""
    directory: str
    """Runs are in DIRECTORY/ARM/seed-N, the table in DIRECTORY/table.md."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Each arm is trained under each; equal seeds draw the questions in the same order."""
    attempts: int = Field(ge=1)
    """Attempts that every run samples; the last batch may pass it. Updates are as many as that takes."""
    arms: dict[str, Overlays]
    """Name -> `section.key=value` laid over the base. The others are compared with the first."""
    set: Overlays = ()
    """`section.key=value` laid over the base in every arm."""
    on: str = ""
    """The set of [training.evaluation] that the table is about; the first where empty."""
    table: TableName = "algorithms"
    """algorithms: what learning came to and what carried a gradient; steering: how much was searched and read."""
    note: str = ""
    """A sentence that the table begins with, such as in what way the start was weakened on purpose."""

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if not self.arms or not self.seeds:
            raise ValueError("a sweep needs arms and seeds")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"each seed is there once; they are {', '.join(map(str, self.seeds))}")
        odd = [name for name in self.arms if not name.replace("-", "").replace("_", "").isalnum()]
        if odd:
            raise ValueError(f"names of arms are folders: letters, digits, - and _, not {', '.join(map(repr, odd))}")
        return self


def load_sweep(path: str | Path, overlays: Iterable[str] = ()) -> SweepConfig:
    """Read a sweep, or a shipped one by its name; `overlays` are laid over the base in every arm, before the arm's own.

    Raises `ConfigError` for a file that is none.
    """
    if str(path).isidentifier() and not Path(path).is_file():
        path = shipped_file(f"sweeps/{path}.toml")
    try:
        raw = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        sweep = SweepConfig.model_validate(raw)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read ({exc.strerror}); sweeps are in data/sweeps/.") from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{path} is not TOML: {exc}.") from exc
    except ValidationError as exc:
        told = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'the file'}: {error['msg'].removeprefix('Value error, ')}"
            for error in exc.errors()
        )
        raise ConfigError(f"{path}: {told}; the keys are {', '.join(SweepConfig.model_fields)}.") from exc
    return sweep.model_copy(update={"set": (*sweep.set, *overlays)})
