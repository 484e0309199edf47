"""Checkpoints among the players: opened by the name that the config gives, for training lies above everything here.

    [cast.checkpoints.searcher]
    path = "out/train/demo/model"

The function behind `opened_by` gets the section and the player's name, and hands back something that plays. One process
opens a checkpoint once, whatever the roles it plays.
"""

from __future__ import annotations

import hashlib
import importlib
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from datagen.agents.budget import Budget
from datagen.agents.roles import Policy, SamplingGuesser, Solver
from datagen.config.cast import CastConfig, CheckpointConfig
from datagen.errors import ConfigError

WEIGHTS = "*.safetensors"
BLOCK = 1 << 22


class TrainedPlayer(Protocol):
    """A checkpoint that was opened, in each of the roles that it can play. All of them may be called from threads."""

    def policy(self) -> Policy: ...

    def solver(self, budget: Budget, number: int = 0) -> Solver:
        """Solvers of different numbers are independent tries."""
        ...

    def guesser(self) -> SamplingGuesser: ...


def open_trained(cast: CastConfig, name: str) -> TrainedPlayer:
    """The player of this name, with its weights loaded."""
    return _opened(name, cast.checkpoints[name])


@lru_cache(maxsize=4)
def _opened(name: str, section: CheckpointConfig) -> TrainedPlayer:
    if section.digest and section.digest != weights_digest(section.path):
        raise ConfigError(
            f"the weights in {section.path} are others than when the run began. Restore them, or begin another run."
        )
    module, _, function = section.opened_by.partition(":")
    try:
        opened_by = getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as exc:
        raise ConfigError(
            f'cast.checkpoints.{name}.opened_by = "{section.opened_by}" is not there ({exc}); training needs '
            'pip install "datagen[train]".'
        ) from exc
    player: TrainedPlayer = opened_by(name, section)
    return player


def forget_trained() -> None:
    """Let go of the weights."""
    _opened.cache_clear()


def with_checkpoint_digests(cast: CastConfig) -> CastConfig:
    """The cast with the digests of the weights as they are now, of those checkpoints that play."""
    playing = {name for role in cast.roles for name in cast.trained(role)}
    if not playing:
        return cast
    named = {
        name: section.model_copy(update={"digest": weights_digest(section.path)}) if name in playing else section
        for name, section in cast.checkpoints.items()
    }
    return cast.model_copy(update={"checkpoints": named})


def weights_digest(folder: str) -> str:
    """SHA-256 over the files with weights, in the order of their names."""
    files = sorted(Path(folder).glob(WEIGHTS))
    if not files:
        raise ConfigError(
            f"{folder} holds no {WEIGHTS}: give the folder of a trained model, such as out/train/demo/model."
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as opened:
            while block := opened.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()[:16]
